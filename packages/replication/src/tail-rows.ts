/**
 * What a lost tail of statements did, as rows: the tail is run once more on the storage at the common point, watched by a format of rows, and
 * rolled back.
 *
 * Decides: of which tails rows can be told. Leaves to others: running and watching (the formats), where the rows are kept.
 *
 * 1. Only a tail of one format that is neither physical nor tells rows itself, and of at most `BYTES_MAX`.
 * 2. A transaction that changes the schema is left out: its statements say more. Those after it are told again.
 * 3. Where running it ends differently than on the leader, the rest is left out: rows that are not sure are worth nothing.
 * 4. Nothing of it stays: one transaction of the storage, rolled back.
 */
import {
  FORMAT_CONTROL,
  type Applier,
  type Log,
  type LogFormat,
  type Lsn,
  type Recorder,
  type Storage,
} from '@understudy/contracts'
import { PartAssembler, type WholeTransaction } from './parts.ts'

const BYTES_MAX = 64 << 20

export interface TailContext<C, T> {
  readonly log: Log
  readonly storage: Storage<C, T>
  readonly formats: readonly LogFormat<C>[]
  readonly transactionBytesMax: number
}

/** By the position of each transaction, what the format of rows says of it. The storage stands right before the tail. */
export function rowsOfTail<C, T>(context: TailContext<C, T>, after: Lsn): ReadonlyMap<Lsn, unknown> {
  const { storage, formats } = context
  const told = new Map<Lsn, unknown>()
  const tail = tailAbove(context, after)
  const format = formats.find(({ id }) => id === tail[0]?.format)
  const rows = formats.find(tellsRows)
  if (
    rows === undefined ||
    format === undefined ||
    format.physical === true ||
    format.needsPages !== undefined
  )
    return told
  if (tail.some((transaction) => transaction.format !== format.id)) return told
  storage.begin()
  const applier = format.applier(storage.connection)
  try {
    applier.prepare()
    for (const { lsn, payload } of tail) {
      const described = watch(storage.connection, rows, applier, payload)
      if (described !== undefined) told.set(lsn, described)
    }
  } catch {
    // What was told before it stands.
  } finally {
    applier.close()
    storage.rollback()
  }
  return told
}

function tellsRows<C>(format: LogFormat<C>): boolean {
  return format.physical !== true && format.needsPages !== undefined && format.describe !== undefined
}

/** `undefined` when its rows cannot be told. A recorder for each: one of rows looks at the schema when it is made. */
function watch<C>(connection: C, rows: LogFormat<C>, applier: Applier, payload: Uint8Array): unknown {
  const recorder = rows.recorder(connection, { unapplied: true })
  try {
    recorder.beginGroup()
    recorder.beginWrite()
    applier.apply(payload)
    return finished(recorder, rows)
  } finally {
    recorder.close()
  }
}

function finished<C>(recorder: Recorder, rows: LogFormat<C>): unknown {
  try {
    recorder.endWrite()
    const payloads = recorder.finishGroup()
    return payloads.length === 1 ? rows.describe?.(payloads[0] as Uint8Array) : undefined
  } catch {
    // Something that rows cannot carry.
    return undefined
  }
}

function tailAbove<C, T>({ log, transactionBytesMax }: TailContext<C, T>, after: Lsn): WholeTransaction[] {
  const assembler = new PartAssembler(transactionBytesMax)
  const tail: WholeTransaction[] = []
  let bytes = 0
  for (const record of log.records(after + 1, log.durable)) {
    const whole = assembler.push(record)
    if (whole === undefined || whole.format === FORMAT_CONTROL) continue
    bytes += whole.payload.length
    if (bytes > BYTES_MAX) return []
    tail.push(whole)
  }
  return tail
}
