/**
 * The log formats of a simulated cluster: one that is taken before COMMIT, one like it whose recorder gives some groups to
 * the first, one that is taken after COMMIT.
 *
 * Decides: what a base stood for (its record names all data, and carries none), where a crash between COMMIT and append
 * strikes, which groups are given to another format. Leaves to others: when formats change, when crashes come.
 */
import { FORMAT_CONTROL, type LogFormat, type Recorder } from '@understudy/contracts'
import { memoryFormat, type MemoryConnection } from '@understudy/testkit'

/** What a physical recorder of the leader tells its world. */
export interface RecorderWatch {
  /** Right after COMMIT, before anything of the group is logged. A throw keeps it out of the log. */
  committed(): void
}

/** All data, by key. */
export type Contents = ReadonlyMap<string, string>

/** What a record changes. `before` is missing where the record does not know it. */
export interface RecordedChange {
  readonly key: string
  readonly before?: string | undefined
  readonly knowsBefore: boolean
  readonly after: string | undefined
}

/** `recovered`: found in the storage after a crash had kept it out of the log. */
export type RecordKind = 'logical' | 'physical' | 'recovered' | 'base'

export class Formats {
  readonly logical: LogFormat<MemoryConnection> = memoryFormat()
  readonly mixed: LogFormat<MemoryConnection>
  readonly physical: LogFormat<MemoryConnection>
  /** What the records of bases stand for, by their payload in hexadecimal. */
  readonly #bases = new Map<string, Contents>()

  /** A group of more than `pagesMax` changes needs a base. `onGiven`: a group was given to another format. */
  constructor(pagesMax: number, onGiven: () => void) {
    const { logical } = this
    const other = memoryFormat({ id: 65_002 })
    this.mixed = {
      ...other,
      recorder: (connection) => giveSome(other.recorder(connection), [logical, connection], onGiven),
    }
    this.physical = memoryFormat({ physical: true, changesMax: pagesMax })
  }

  /** Every format, for nodes that apply. */
  get all(): readonly LogFormat<MemoryConnection>[] {
    return [this.logical, this.mixed, this.physical]
  }

  /** The physical format as one life of the leader records in it. */
  watched(watch: RecorderWatch): LogFormat<MemoryConnection> {
    const { physical } = this
    return {
      ...physical,
      recorder: (connection) => this.#watched(physical.recorder(connection), connection, watch),
    }
  }

  /** What a whole transaction changes, given the data before it. */
  decode(format: number, payload: Uint8Array, before: () => Contents): [RecordKind, RecordedChange[]] {
    if (format === FORMAT_CONTROL) throw new TypeError('a control record changes nothing')
    if (format !== this.physical.id) {
      const logical = format === this.logical.id ? this.logical : this.mixed
      return ['logical', known(logical.describe?.(payload) as Row[])]
    }
    const rows = this.physical.describe?.(payload) as Row[] | { readonly base: string }
    if ('base' in rows) return ['base', this.#difference(before(), payload)]
    return rows.some((row) => 'before' in row) || rows.length === 0
      ? ['physical', known(rows)]
      : ['recovered', unknown(rows, before())]
  }

  #watched(recorder: Recorder, connection: MemoryConnection, watch: RecorderWatch): Recorder {
    return {
      ...hooks(recorder),
      changed: () => recorder.changed?.() ?? true,
      finishGroup: () => {
        watch.committed()
        return recorder.finishGroup()
      },
      base: () => {
        const payload = recorder.base?.() ?? new Uint8Array(0)
        this.#bases.set(Buffer.from(payload).toString('hex'), new Map(connection.committedEntries()))
        return payload
      },
      recover: () => recorder.recover?.() ?? [],
    }
  }

  #difference(before: Contents, payload: Uint8Array): RecordedChange[] {
    const after = this.#bases.get(Buffer.from(payload).toString('hex'))
    if (after === undefined) throw new TypeError('a base that no recorder made')
    const keys = new Set([...before.keys(), ...after.keys()])
    return [...keys]
      .filter((key) => before.get(key) !== after.get(key))
      .map((key) => ({ key, before: before.get(key), knowsBefore: true, after: after.get(key) }))
  }
}

type Hooks = Omit<Recorder, 'finishGroup' | 'finishedFormat' | 'changed' | 'base' | 'recover'>

function hooks(recorder: Recorder): Hooks {
  return {
    beginGroup: () => recorder.beginGroup(),
    beginWrite: () => recorder.beginWrite(),
    endWrite: () => recorder.endWrite(),
    abandonWrite: () => recorder.abandonWrite(),
    abandonGroup: () => recorder.abandonGroup(),
    close: () => recorder.close(),
  }
}

/** Every third group by its bytes, so that equal seeds give the same ones away. */
function giveSome(
  recorder: Recorder,
  [format, connection]: readonly [LogFormat<MemoryConnection>, MemoryConnection],
  onGiven: () => void,
): Recorder {
  let given: number | undefined
  return {
    ...hooks(recorder),
    finishGroup: () => {
      const payloads = recorder.finishGroup()
      const bytes = payloads.reduce((sum, payload) => sum + payload.length, 0)
      given = bytes > 0 && bytes % 3 === 0 ? format.id : undefined
      if (given === undefined) return payloads
      onGiven()
      const another = format.recorder(connection)
      another.beginGroup()
      return another.finishGroup()
    },
    get finishedFormat() {
      return given
    },
  }
}

interface Row {
  readonly key: string
  readonly before?: string | null
  readonly after: string | null
}

function known(rows: readonly Row[]): RecordedChange[] {
  return rows.map(({ key, before, after }) => ({
    key,
    before: before ?? undefined,
    knowsBefore: true,
    after: after ?? undefined,
  }))
}

/** Pages of earlier transactions may be among those that were found: they change nothing. */
function unknown(rows: readonly Row[], contents: Contents): RecordedChange[] {
  return rows
    .filter(({ key, after }) => contents.get(key) !== (after ?? undefined))
    .map(({ key, after }) => ({ key, knowsBefore: false, after: after ?? undefined }))
}
