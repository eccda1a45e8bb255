/**
 * The coordinator's store in etcd: four keys of a cluster.
 *
 * | key | value | changes |
 * | --- | --- | --- |
 * | `state` | the published state | with each publication |
 * | `lease` | who has the lease, for which epoch and how long | when it is taken: its revision is the grant |
 * | `beat` | the grant | with each renewal: its revision is the beat |
 * | `released` | the grant that was given back, or `-` | when it is taken or released |
 *
 * 1. Each change is one transaction, whose conditions are the revisions that it relies on.
 * 2. Reading is linearizable: etcd asks its quorum.
 * 3. No lease of etcd's own is used: they last 2 s at least, and end by the clock of a server that may have been elected anew.
 */
import {
  UnderstudyError,
  type CoordinatorRecipe,
  type CoordinatorStore,
  type LeaseTerms,
  type StateChange,
  type Stored,
  type StoredLease,
} from '@understudy/contracts'
import type { CallKind, EtcdClient } from './client.ts'
import { isObject, KIND } from './refusals.ts'
import { WatchStream } from './watch-stream.ts'
import {
  everythingIn,
  isAt,
  isNot,
  keysOf,
  putsWhen,
  revisionOf,
  type Condition,
  type KeyValue,
} from './wire.ts'
import type { Settings } from './options.ts'

const NOTHING_RELEASED = '-'
const NEVER = '0'

export class EtcdStore implements CoordinatorStore {
  readonly kind: string = KIND
  readonly recipe: CoordinatorRecipe
  readonly #client: EtcdClient
  readonly #prefix: string
  readonly #settings: Settings
  readonly #streams = new Set<WatchStream>()

  constructor(client: EtcdClient, settings: Settings, recipe: CoordinatorRecipe) {
    this.#client = client
    this.#prefix = settings.prefix
    this.#settings = settings
    this.recipe = recipe
  }

  async read(signal: AbortSignal): Promise<Stored> {
    const body = everythingIn(this.#prefix)
    const keys = keysOf(await this.#client.call('/v3/kv/range', body, 'read', signal), this.#prefix)
    const state = keys.get('state')
    const lease = keys.get('lease')
    return {
      ...(state && { state: { revision: state.revision, bytes: state.value } }),
      ...(lease && { lease: leaseOf(lease, keys) }),
    }
  }

  put({ bytes, expected, grant }: StateChange, signal: AbortSignal): Promise<string | undefined> {
    const conditions = [
      isAt(this.#key('state'), expected),
      ...(grant === undefined ? [] : this.#inForce(grant)),
    ]
    return this.#transaction(conditions, { state: bytes }, 'once', signal)
  }

  take(
    { holder, epoch, ttlMs, token }: LeaseTerms,
    over: Pick<StoredLease, 'grant' | 'beat'> | undefined,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const conditions = [isAt(this.#key('lease'), over?.grant ?? NEVER)]
    if (over !== undefined) conditions.push(isAt(this.#key('beat'), over.beat))
    const lease = JSON.stringify({ version: 1, holder, epoch, ttlMs, token })
    return this.#transaction(conditions, { lease, beat: token, released: NOTHING_RELEASED }, 'once', signal)
  }

  async beat(grant: string, signal: AbortSignal): Promise<boolean> {
    return (
      (await this.#transaction(this.#inForce(grant), { beat: grant }, 'repeatable', signal)) !== undefined
    )
  }

  async release(grant: string, signal: AbortSignal): Promise<boolean> {
    // Without asking whether it was released before, so that repeating it gives the same answer.
    const conditions = [isAt(this.#key('lease'), grant)]
    return (await this.#transaction(conditions, { released: grant }, 'repeatable', signal)) !== undefined
  }

  listen(changed: () => void): () => void {
    const stream = new WatchStream(this.#client, everythingIn(this.#prefix), this.#settings.clock, changed)
    this.#streams.add(stream)
    return () => {
      this.#streams.delete(stream)
      stream.close()
    }
  }

  async close(): Promise<void> {
    for (const stream of this.#streams) stream.close()
    this.#client.close()
  }

  #key(name: string): string {
    return `${this.#prefix}${name}`
  }

  #inForce(grant: string): Condition[] {
    return [isAt(this.#key('lease'), grant), isNot(this.#key('released'), grant)]
  }

  async #transaction(
    conditions: readonly Condition[],
    puts: Readonly<Record<string, string | Uint8Array>>,
    kind: CallKind,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const named = Object.fromEntries(Object.entries(puts).map(([name, value]) => [this.#key(name), value]))
    return revisionOf(await this.#client.call('/v3/kv/txn', putsWhen(conditions, named), kind, signal))
  }
}

function leaseOf(lease: KeyValue, keys: ReadonlyMap<string, KeyValue>): StoredLease {
  const terms = termsOf(lease.value)
  return {
    ...terms,
    grant: lease.revision,
    beat: keys.get('beat')?.revision ?? NEVER,
    released: keys.get('released')?.value.toString() === lease.revision,
  }
}

function termsOf(bytes: Buffer): LeaseTerms {
  let value: unknown
  try {
    value = JSON.parse(bytes.toString())
  } catch {
    throw corrupt()
  }
  if (!isObject(value)) throw corrupt()
  const { version, holder, epoch, ttlMs, token } = value
  if (typeof version === 'number' && version > 1)
    throw new UnderstudyError(
      'FORMAT_VERSION',
      `etcd holds a lease of version ${version}, and this program knows 1. Nothing was changed; update it.`,
    )
  const areNumbers = Number.isSafeInteger(epoch) && Number.isSafeInteger(ttlMs)
  if (typeof holder !== 'string' || typeof token !== 'string' || !areNumbers) throw corrupt()
  return { holder, token, epoch: epoch as number, ttlMs: ttlMs as number }
}

function corrupt(): UnderstudyError {
  return new UnderstudyError(
    'STATE_CORRUPT',
    'What etcd holds as a lease is none. It was left as it is; find out what else writes to the keys of the cluster.',
  )
}
