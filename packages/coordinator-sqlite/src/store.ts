/**
 * The coordinator's store in a SQLite file.
 *
 * 1. Grants, beats and revisions are numbers of one counter, in the transaction that uses them.
 * 2. A beat says when it was, by the monotonic clock of the machine, and in which boot: so whoever comes later knows how old
 *    it is. A beat of another boot or time space is as old as it was seen, because its clock is another one.
 * 3. A beat of another boot that goes on beating is on another machine: the file is shared, and nothing in it can be trusted.
 */
import type { DatabaseSync, SQLInputValue } from 'node:sqlite'
import {
  NO_REVISION,
  type Clock,
  type CoordinatorRecipe,
  type CoordinatorStore,
  type LeaseTerms,
  type StateChange,
  type Stored,
  type StoredLease,
} from '@understudy/contracts'
import { pause, unavailable } from '@understudy/coordination'
import { CoordinatorFile, type Durability } from './database.ts'
import { isBusy, KIND, understood, unsuitable } from './failures.ts'
import type { Machine } from './machine.ts'

/** Between two tries for a lock, in milliseconds. */
const LOCK_RETRY_MS = 2

export interface SqliteStoreParts {
  readonly file: CoordinatorFile
  readonly machine: Machine
  readonly clock: Clock
  readonly pollMs: number
  readonly recipe: CoordinatorRecipe
}

interface LeaseRow {
  readonly grant: bigint
  readonly beat: bigint
  readonly holder: string
  readonly epoch: bigint
  readonly ttl_ms: bigint
  readonly token: string
  readonly released: bigint
  readonly beaten_at_ns: bigint
  readonly boot: string
  readonly time_space: string
}

export class SqliteStore implements CoordinatorStore {
  readonly kind: string = KIND
  readonly recipe: CoordinatorRecipe
  readonly #parts: SqliteStoreParts
  readonly #listeners = new Set<() => void>()
  #polling: { cancel(): void } | undefined
  #version: bigint | undefined
  #foreign: { readonly boot: string; readonly beat: bigint } | undefined

  constructor(parts: SqliteStoreParts) {
    this.#parts = parts
    this.recipe = parts.recipe
  }

  read(signal: AbortSignal): Promise<Stored> {
    return this.#run(signal, () =>
      this.#parts.file.read((database) => {
        const state = database.prepare('select revision, bytes from state').get()
        const lease = leaseOf(database)
        return {
          ...(state && {
            state: { revision: String(state['revision']), bytes: state['bytes'] as Uint8Array },
          }),
          ...(lease && { lease: this.#understand(lease) }),
        }
      }),
    )
  }

  put({ bytes, expected, grant }: StateChange, signal: AbortSignal): Promise<string | undefined> {
    return this.#change('full', signal, (database) => {
      const row = database.prepare('select revision from state').get()
      if (String(row?.['revision'] ?? NO_REVISION) !== expected) return undefined
      if (grant !== undefined && !isInForce(leaseOf(database), grant)) return undefined
      const revision = count(database)
      database.prepare('insert or replace into state values (1, ?, ?)').run(revision, bytes)
      return String(revision)
    })
  }

  take(
    { holder, epoch, ttlMs, token }: LeaseTerms,
    over: Pick<StoredLease, 'grant' | 'beat'> | undefined,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const { machine } = this.#parts
    return this.#change('full', signal, (database) => {
      const there = leaseOf(database)
      const isSame = String(there?.grant) === over?.grant && String(there?.beat) === over?.beat
      if (over === undefined ? there !== undefined : !isSame) return undefined
      const grant = count(database)
      const values: SQLInputValue[] = [grant, grant, holder, epoch, ttlMs, token, 0]
      database
        .prepare('insert or replace into lease values (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
        .run(...values, machine.nowNs(), machine.boot, machine.timeSpace)
      return String(grant)
    })
  }

  beat(grant: string, signal: AbortSignal): Promise<boolean> {
    const { machine } = this.#parts
    return this.#change('process', signal, (database) => {
      if (!isInForce(leaseOf(database), grant)) return false
      database
        .prepare('update lease set beat = ?, beaten_at_ns = ?, boot = ?, time_space = ?')
        .run(count(database), machine.nowNs(), machine.boot, machine.timeSpace)
      return true
    })
  }

  release(grant: string, signal: AbortSignal): Promise<boolean> {
    return this.#change('full', signal, (database) => {
      if (!isInForce(leaseOf(database), grant)) return false
      database.exec('update lease set released = 1')
      return true
    })
  }

  listen(changed: () => void): () => void {
    this.#listeners.add(changed)
    if (this.#polling === undefined) this.#poll()
    return () => {
      this.#listeners.delete(changed)
      if (this.#listeners.size > 0) return
      this.#polling?.cancel()
      this.#polling = undefined
    }
  }

  async close(): Promise<void> {
    this.#listeners.clear()
    this.#polling?.cancel()
    this.#parts.file.close()
  }

  /** SQLite tells nobody of changes: whoever waits for some looks. A look costs a few microseconds. */
  #poll(): void {
    const { clock, pollMs, file } = this.#parts
    this.#polling = clock.schedule(pollMs, () => {
      let version: bigint | undefined
      try {
        version = file.version()
      } catch {
        // Whoever reads next says what is wrong.
      }
      const isNew = version === undefined || version !== this.#version
      this.#version = version
      this.#poll()
      if (isNew) this.#tell()
    })
  }

  #tell(): void {
    for (const changed of this.#listeners) changed()
  }

  async #change<T>(
    durability: Durability,
    signal: AbortSignal,
    run: (database: DatabaseSync) => T,
  ): Promise<T> {
    const result = await this.#run(signal, () => this.#parts.file.change(durability, run))
    this.#tell()
    return result
  }

  /** Tries until nobody else has the lock. */
  async #run<T>(signal: AbortSignal, run: () => T): Promise<T> {
    const { clock, file } = this.#parts
    for (;;) {
      // A turn of the event loop first: a call never answers synchronously, and can be given up.
      await new Promise<void>((resolve) => {
        setImmediate(resolve)
      })
      if (signal.aborted) throw unavailable(KIND, 'it was given up before it began')
      try {
        return run()
      } catch (error) {
        if (!isBusy(error)) throw understood(error, file.path, false)
        await pause(clock, LOCK_RETRY_MS, signal)
        if (signal.aborted) throw locked(file.path, error)
      }
    }
  }

  #understand(row: LeaseRow): StoredLease {
    const { machine } = this.#parts
    const isOwnBoot = row.boot === machine.boot
    if (!isOwnBoot) {
      if (this.#foreign?.boot === row.boot && this.#foreign.beat !== row.beat)
        throw unsuitable(
          `${this.#parts.file.path} is used by another machine at the same time: a lease of another boot is being renewed`,
          'use a disk of this machine, or etcd for nodes on several',
        )
      this.#foreign = { boot: row.boot, beat: row.beat }
    }
    const isOwnClock = isOwnBoot && row.time_space === machine.timeSpace
    const ageMs = isOwnClock ? Math.max(0, Number(machine.nowNs() - row.beaten_at_ns) / 1e6) : 0
    return {
      grant: String(row.grant),
      beat: String(row.beat),
      holder: row.holder,
      epoch: Number(row.epoch),
      ttlMs: Number(row.ttl_ms),
      token: row.token,
      released: row.released !== 0n,
      ageMs,
    }
  }
}

function leaseOf(database: DatabaseSync): LeaseRow | undefined {
  return database.prepare('select * from lease').get() as LeaseRow | undefined
}

function isInForce(lease: LeaseRow | undefined, grant: string): boolean {
  return lease !== undefined && String(lease.grant) === grant && lease.released === 0n
}

function count(database: DatabaseSync): bigint {
  const row = database.prepare('update counter set value = value + 1 returning value').get()
  return row?.['value'] as bigint
}

function locked(path: string, cause: unknown): Error {
  return unavailable(
    KIND,
    `somebody else has the lock of ${path} all the time; when it is a process that was stopped, end it`,
    cause,
  )
}
