/**
 * A physical format over `MemoryStorage`: keys stand for pages, and the note of the position is one of them.
 *
 * Payload: a kind; 0, a base: the digest of everything as text. 1, a transaction: the note that it replaces, its note,
 * its net changes. 2, a transaction found after a crash: its note, number of keys, for each key 0 or 1 and the value:
 * old values are not known then, and keys of earlier transactions may be among them. A note: epoch, LSN, CRC, 0 or 1.
 *
 * 1. A transaction's old values and old note make the applier strict, as in format.ts.
 * 2. What is applied leaves the leader's own note behind, so that the position stored on a follower is the leader's.
 * 3. The recorder throws when its hooks are not called in the order of the contract, `finishGroup` before COMMIT included.
 */
import { UnderstudyError, type Applier, type LogFormat, type Recorder } from '@understudy/contracts'
import { ByteReader, ByteWriter } from './bytes.ts'
import {
  describeChange,
  netChanges,
  readChanges,
  readOptional,
  writeChanges,
  writeOptional,
} from './changes.ts'
import type { MemoryChange, MemoryConnection, MemoryNote } from './connection.ts'
import { readNote, writeNote } from './image.ts'

const BASE = 0
const TRANSACTION = 1
const RECOVERED = 2

type Payload =
  | { readonly kind: 'base'; readonly digest: string }
  | {
      readonly kind: 'transaction'
      readonly noteBefore: MemoryNote
      readonly note: MemoryNote
      readonly changes: readonly MemoryChange[]
    }
  | { readonly kind: 'recovered'; readonly note: MemoryNote; readonly values: readonly Value[] }

type Value = readonly [key: string, value: string | undefined]

/** Id 65001, in the range that is free for users. A transaction with more than `changesMax` changes needs a base. */
export function physicalMemoryFormat(changesMax: number): LogFormat<MemoryConnection> {
  return {
    id: 65_001,
    name: 'memory-pages',
    version: 1,
    physical: true,
    recorder: (connection) => new PhysicalRecorder(connection, changesMax),
    applier: (connection) => new PhysicalApplier(connection),
    describe: (payload) => describePayload(decode(payload)),
  }
}

class PhysicalRecorder implements Recorder {
  readonly #connection: MemoryConnection
  readonly #changesMax: number
  #state: 'idle' | 'group' | 'write' | 'closed' = 'idle'

  constructor(connection: MemoryConnection, changesMax: number) {
    this.#connection = connection
    this.#changesMax = changesMax
  }

  beginGroup(): void {
    if (this.#connection.prepared)
      refuse(`The storage is prepared for applying ${this.#connection.preparedFor}.`)
    this.#move('beginGroup', ['idle'], 'group')
  }

  beginWrite(): void {
    this.#move('beginWrite', ['group'], 'write')
  }

  endWrite(): void {
    this.#move('endWrite', ['write'], 'group')
  }

  abandonWrite(): void {
    this.#move('abandonWrite', ['write', 'group'], 'group')
  }

  changed(): boolean {
    this.#move('changed', ['group'], 'group')
    return this.#connection.journal.length > 0
  }

  finishGroup(): readonly Uint8Array[] {
    if (this.#connection.inTransaction) refuse('Recorder.finishGroup must come after COMMIT.')
    this.#move('finishGroup', ['group'], 'idle')
    const commit = this.#connection.lastCommit
    if (commit === undefined || !commit.note.physical)
      return refuse('The last COMMIT was none of a physical transaction.')
    const changes = netChanges(commit.changes)
    if (changes.length > this.#changesMax) return []
    const writer = new ByteWriter()
    writer.integer(TRANSACTION)
    writeNote(writer, commit.noteBefore)
    writeNote(writer, commit.note)
    writeChanges(writer, changes)
    return [writer.finish()]
  }

  abandonGroup(): void {
    this.#move('abandonGroup', ['group', 'write', 'idle'], 'idle')
  }

  base(): Uint8Array {
    const writer = new ByteWriter()
    writer.integer(BASE)
    writer.text(this.#connection.digest())
    return writer.finish()
  }

  recover(): readonly Uint8Array[] {
    const { survived } = this.#connection
    if (survived === undefined || !survived.note.physical) return []
    const keys = new Set(survived.changes.map(({ key }) => key))
    const writer = new ByteWriter()
    writer.integer(RECOVERED)
    writeNote(writer, this.#connection.committedNote)
    writer.integer(keys.size)
    for (const key of keys) {
      writer.text(key)
      writeOptional(writer, this.#connection.committed(key))
    }
    return [writer.finish()]
  }

  close(): void {
    this.#state = 'closed'
  }

  #move(call: string, from: readonly string[], to: 'idle' | 'group' | 'write'): void {
    if (!from.includes(this.#state))
      refuse(`Recorder.${call} must not be called in the state "${this.#state}".`)
    this.#state = to
  }
}

class PhysicalApplier implements Applier {
  readonly #connection: MemoryConnection

  constructor(connection: MemoryConnection) {
    this.#connection = connection
  }

  prepare(): void {
    if (!this.#connection.inTransaction) refuse('Applier.prepare needs an open transaction of its caller.')
  }

  apply(bytes: Uint8Array): void {
    const connection = this.#connection
    if (!connection.inTransaction) refuse('Applier.apply needs an open transaction of its caller.')
    const payload = decode(bytes)
    if (payload.kind === 'base')
      throw new UnderstudyError(
        'SNAPSHOT_REQUIRED',
        'From this record on the storage as a whole counts; nothing was applied. Make it equal to the leader first.',
      )
    if (connection.prepared) refuse(`The storage is prepared for applying ${connection.preparedFor}.`)
    if (!connection.note.physical) refuse('Pages can be applied to a physical storage only.')
    if (payload.kind === 'transaction') {
      if (!sameNotes(payload.noteBefore, connection.note)) throw diverged('the stored position')
      for (const { key, before, after } of payload.changes) {
        if (connection.get(key) !== before) throw diverged(`the key ${JSON.stringify(key)}`)
        this.#set(key, after)
      }
    } else {
      for (const [key, value] of payload.values) this.#set(key, value)
    }
    connection.setNote(payload.note)
  }

  restore(): void {
    if (!this.#connection.inTransaction) refuse('Applier.restore needs an open transaction of its caller.')
  }

  holds(bytes: Uint8Array): boolean {
    const connection = this.#connection
    const payload = decode(bytes)
    if (payload.kind === 'base') return payload.digest === connection.digest()
    const values: Iterable<Value> =
      payload.kind === 'recovered'
        ? payload.values
        : payload.changes.map(({ key, after }): Value => [key, after])
    if (!sameNotes(payload.note, connection.committedNote)) return false
    for (const [key, value] of values) if (connection.committed(key) !== value) return false
    return true
  }

  close(): void {
    // Holds nothing of its own.
  }

  #set(key: string, value: string | undefined): void {
    if (value === undefined) this.#connection.delete(key)
    else this.#connection.set(key, value)
  }
}

function decode(bytes: Uint8Array): Payload {
  const reader = new ByteReader(bytes, 'RECORD_CORRUPT')
  const payload = read(reader)
  if (reader.left > 0) reader.fail('bytes follow the payload')
  return payload
}

function read(reader: ByteReader): Payload {
  const kind = reader.integer()
  if (kind === BASE) return { kind: 'base', digest: reader.text() }
  if (kind === TRANSACTION) {
    const noteBefore = readNote(reader)
    return { kind: 'transaction', noteBefore, note: readNote(reader), changes: readChanges(reader) }
  }
  if (kind !== RECOVERED) return reader.fail('the kind of payload is unknown')
  const note = readNote(reader)
  const count = reader.integer()
  const values: Value[] = []
  for (let index = 0; index < count; index++) values.push([reader.text(), readOptional(reader)])
  return { kind: 'recovered', note, values }
}

/** Plain data: `{ base }`, or an array of changes; those of a recovered transaction lack `before`. */
function describePayload(payload: Payload): unknown {
  if (payload.kind === 'base') return { base: payload.digest }
  if (payload.kind === 'transaction') return payload.changes.map(describeChange)
  return payload.values.map(([key, after]) => ({ key, after: after ?? null }))
}

function sameNotes(a: MemoryNote, b: MemoryNote): boolean {
  return (
    a.physical === b.physical &&
    a.point.epoch === b.point.epoch &&
    a.point.lsn === b.point.lsn &&
    a.point.crc === b.point.crc
  )
}

function diverged(what: string): UnderstudyError {
  return new UnderstudyError(
    'DIVERGED',
    `Here ${what} is another than on the leader; the node stopped applying. Its data must be made anew from the leader.`,
  )
}

function refuse(what: string): never {
  throw new UnderstudyError('INVALID_ARGUMENT', `${what} Nothing was changed.`)
}
