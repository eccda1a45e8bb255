/**
 * The log formats of `MemoryStorage`. The logical one is here: the net changes of a group, each with the value that it
 * replaces. Its payload: its id unless that is the default one, number of changes, then each (changes.ts). The physical one: physical-format.ts.
 *
 * 1. Old values make the applier strict: a payload that is applied twice, too early, too late or to other data throws
 *    `DIVERGED`. So a test that ends without error has applied every payload once and in order.
 * 2. The recorder throws when its hooks are not called in the order of the contract, and while an applier has the storage
 *    prepared; an applier while that of another format has.
 */
import { UnderstudyError, type Applier, type LogFormat, type Recorder } from '@understudy/contracts'
import { ByteReader, ByteWriter } from './bytes.ts'
import { describeChange, netChanges, readChanges, writeChanges } from './changes.ts'
import type { MemoryChange, MemoryConnection } from './connection.ts'
import { physicalMemoryFormat } from './physical-format.ts'

export interface MemoryFormatOptions {
  /** Taken after COMMIT, as pages of a file are, and applied to a physical storage only. Default false. */
  readonly physical?: boolean
  /** Logical: the format's id, so that there can be several. Default 65000, named `memory`; another is part of the name. */
  readonly id?: number
  /** Logical: a group with more changes becomes several payloads. Default no limit. */
  readonly changesPerPayloadMax?: number
  /** Logical: what changes this key cannot be undone. Default none. */
  readonly pagesKey?: string
  /** Physical: a group with more changes becomes none, so that only a base helps. Default no limit. */
  readonly changesMax?: number
}

const DEFAULT_ID = 65_000

/** Id 65000, 65001 for the physical one: in the range that is free for users. */
export function memoryFormat(options: MemoryFormatOptions = {}): LogFormat<MemoryConnection> {
  if (options.physical === true) return physicalMemoryFormat(options.changesMax ?? Number.POSITIVE_INFINITY)
  const { id = DEFAULT_ID, changesPerPayloadMax = Number.POSITIVE_INFINITY } = options
  const name = id === DEFAULT_ID ? 'memory' : `memory-${id}`
  return {
    id,
    name,
    version: 1,
    recorder: (connection) => new MemoryRecorder(connection, id, changesPerPayloadMax),
    applier: (connection) => new MemoryApplier(connection, id, name),
    needsPages: (payload) => {
      const changes = decodeChanges(payload, id)
      return changes.some(({ key }) => key === options.pagesKey)
        ? `it changes ${options.pagesKey}`
        : undefined
    },
    describe: (payload) => decodeChanges(payload, id).map(describeChange),
  }
}

class MemoryRecorder implements Recorder {
  readonly #connection: MemoryConnection
  readonly #id: number
  readonly #changesMax: number
  #state: 'idle' | 'group' | 'write' | 'closed' = 'idle'

  constructor(connection: MemoryConnection, id: number, changesMax: number) {
    this.#connection = connection
    this.#id = id
    this.#changesMax = changesMax
  }

  beginGroup(): void {
    if (this.#connection.prepared)
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        `The storage is prepared for applying ${this.#connection.preparedFor}; nothing was begun. Restore it first.`,
      )
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

  finishGroup(): readonly Uint8Array[] {
    this.#move('finishGroup', ['group'], 'idle')
    const changes = netChanges(this.#connection.journal)
    const payloads: Uint8Array[] = []
    for (let from = 0; from < changes.length; from += this.#changesMax) {
      payloads.push(encodeChanges(this.#id, changes.slice(from, from + this.#changesMax)))
    }
    return payloads
  }

  abandonGroup(): void {
    this.#move('abandonGroup', ['group', 'write', 'idle'], 'idle')
  }

  close(): void {
    this.#state = 'closed'
  }

  #move(call: string, from: readonly string[], to: 'idle' | 'group' | 'write'): void {
    if (!from.includes(this.#state)) {
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        `Recorder.${call} must not be called in the state "${this.#state}".`,
      )
    }
    this.#state = to
  }
}

class MemoryApplier implements Applier {
  readonly #connection: MemoryConnection
  readonly #id: number
  readonly #name: string

  constructor(connection: MemoryConnection, id: number, name: string) {
    this.#connection = connection
    this.#id = id
    this.#name = name
  }

  prepare(): void {
    this.#checkTransaction('prepare')
    const { preparedFor } = this.#connection
    if (preparedFor !== undefined && preparedFor !== this.#name)
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        `The storage is prepared for ${preparedFor}, not for ${this.#name}; nothing was done. Restore it first.`,
      )
    this.#connection.setPreparedFor(this.#name)
  }

  apply(payload: Uint8Array): void {
    this.#checkTransaction('apply')
    if (this.#connection.preparedFor !== this.#name)
      throw new UnderstudyError('INVALID_ARGUMENT', 'Applier.apply needs prepare first.')
    for (const { key, before, after } of decodeChanges(payload, this.#id)) {
      const found = this.#connection.get(key)
      if (found !== before) {
        throw new UnderstudyError(
          'DIVERGED',
          `The key ${JSON.stringify(key)} holds another value than on the leader; the node stopped applying. Its data must be made anew from the leader.`,
          { key },
        )
      }
      if (after === undefined) this.#connection.delete(key)
      else this.#connection.set(key, after)
    }
  }

  undo(payload: Uint8Array): void {
    this.#checkTransaction('undo')
    if (this.#connection.preparedFor !== this.#name)
      throw new UnderstudyError('INVALID_ARGUMENT', 'Applier.undo needs prepare first.')
    for (const { key, before, after } of decodeChanges(payload, this.#id).toReversed()) {
      if (this.#connection.get(key) !== after)
        throw new UnderstudyError(
          'DIVERGED',
          `The key ${JSON.stringify(key)} does not hold what the record left; nothing was undone.`,
          { key },
        )
      if (before === undefined) this.#connection.delete(key)
      else this.#connection.set(key, before)
    }
  }

  restore(): void {
    this.#checkTransaction('restore')
    if (this.#connection.preparedFor === this.#name) this.#connection.setPreparedFor(undefined)
  }

  close(): void {
    // Holds nothing of its own.
  }

  #checkTransaction(call: string): void {
    if (!this.#connection.inTransaction)
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        `Applier.${call} needs an open transaction of its caller.`,
      )
  }
}

function encodeChanges(id: number, changes: readonly MemoryChange[]): Uint8Array {
  const writer = new ByteWriter()
  if (id !== DEFAULT_ID) writer.integer(id)
  writeChanges(writer, changes)
  return writer.finish()
}

function decodeChanges(payload: Uint8Array, id: number): MemoryChange[] {
  const reader = new ByteReader(payload, 'RECORD_CORRUPT')
  const found = id === DEFAULT_ID ? id : reader.integer()
  if (found !== id) reader.fail(`it is of format ${found}, not ${id}`)
  const changes = readChanges(reader)
  if (reader.left > 0) reader.fail('bytes follow the last change')
  return changes
}
