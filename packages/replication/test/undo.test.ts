/** Undoing what is applied, from the log alone: which transactions, in which order, and what remains after a failure. */
import {
  FLAG_CONTINUES,
  ORIGIN,
  type LogFormat,
  type LogPoint,
  type RecordDraft,
} from '@understudy/contracts'
import { MemoryStorage, SimulatedClock, memoryFormat, type MemoryConnection } from '@understudy/testkit'
import { expect, test } from 'vitest'
import { ApplyLoop, planUndo, undoTail } from '../src/index.ts'
import { MemoryLog } from './support/memory-log.ts'

const FIRST = memoryFormat()
const SECOND = memoryFormat({ id: 65_002 })

interface Built {
  readonly log: MemoryLog
  readonly storage: MemoryStorage
  readonly loop: ApplyLoop<MemoryConnection, unknown>
  /** After each record of the log, 0 first. */
  readonly digests: string[]
  readonly clock: SimulatedClock
  readonly formats: readonly LogFormat<MemoryConnection>[]
}

type Step =
  | { readonly key: string; readonly format?: LogFormat<MemoryConnection>; readonly parts?: number }
  | 'control'

/** A storage that applied a log, in which each step changes one key. */
function build(
  steps: readonly Step[],
  formats: readonly LogFormat<MemoryConnection>[] = [FIRST, SECOND],
): Built {
  const clock = new SimulatedClock()
  const { log } = { log: new MemoryLog() }
  log.startEpoch({ runId: '0123456789abcdef', leader: 'a', committedAtMs: 0 })
  const origin = new MemoryStorage({ clock })
  let value = 0
  for (const step of steps) {
    const base = { flags: 0, committedAtMs: 0 }
    if (step === 'control') {
      log.append([{ ...base, format: 0, payload: Uint8Array.of(2) }])
      continue
    }
    const { format = FIRST, key, parts = 1 } = step
    const recorder = format.recorder(origin.connection)
    origin.begin()
    recorder.beginGroup()
    origin.write((tx) => tx.set(key, `value ${++value}`), recorder)
    const payload = recorder.finishGroup()[0] as Uint8Array
    origin.mark({ epoch: 1, lsn: origin.applied.lsn + 1, crc: 0 })
    origin.commit()
    recorder.close()
    const size = Math.ceil(payload.length / parts)
    const drafts: RecordDraft[] = Array.from({ length: parts }, (_, part) => ({
      ...base,
      format: format.id,
      flags: part + 1 < parts ? FLAG_CONTINUES : 0,
      payload: payload.subarray(part * size, (part + 1) * size),
    }))
    log.append(drafts)
  }
  log.syncNow()
  const storage = new MemoryStorage({ clock })
  const loop = new ApplyLoop<MemoryConnection, unknown>({
    storage,
    formats,
    clock,
    limits: { batchRecordsMax: 1 },
  })
  const digests = [storage.digest()]
  while (storage.applied.lsn < log.end.lsn) {
    if (loop.idle) loop.fill(log, log.end.lsn)
    loop.step(log.end.lsn)
    digests[storage.applied.lsn] = storage.digest()
  }
  return { log, storage, loop, digests, clock, formats }
}

async function undo(built: Built, after: number): Promise<LogPoint> {
  const { log, storage, loop, clock, formats } = built
  const context = { log, storage, formats, clock, transactionBytesMax: 1 << 20 }
  const plan = planUndo(context, after)
  await clock.complete(undoTail(context, loop, plan, after))
  return plan.to
}

test('every point of a history can be gone back to, and gone on from', async () => {
  const steps: Step[] = [
    { key: 'a' },
    { key: 'b' },
    'control',
    { key: 'a' },
    { key: 'a', format: SECOND },
    'control',
    { key: 'c', format: SECOND },
    { key: 'c' },
    { key: 'b' },
  ]
  for (let after = 1; after <= steps.length + 1; after += 1) {
    const built = build(steps)
    const { log, storage, digests, loop } = built
    const old = log.read(1, { bytesMax: 1e9 })
    const point = await undo(built, after)
    expect(point).toEqual(log.end)
    expect([after, storage.applied, storage.digest()]).toEqual([after, log.end, digests[after]])
    // The records that were cut off may come again.
    log.appendEncoded((old?.bytes ?? new Uint8Array()).subarray(log.read(1, { bytesMax: 1e9 })?.bytes.length))
    log.syncNow()
    while (storage.applied.lsn < log.end.lsn) {
      if (loop.idle) loop.fill(log, log.end.lsn)
      loop.step(log.end.lsn)
    }
    expect(storage.digest()).toBe(digests.at(-1))
  }
})

test('all of it can be undone', async () => {
  const built = build([{ key: 'a' }, { key: 'b' }])
  expect(await undo(built, 0)).toEqual(ORIGIN)
  expect(built.storage.digest()).toBe(built.digests[0])
  expect(built.log.end).toEqual(ORIGIN)
})

test('what is undone is durable before the log is cut', async () => {
  const built = build([{ key: 'a' }, { key: 'b' }, { key: 'a' }])
  await built.clock.complete(built.storage.checkpoint())
  await undo(built, 2)
  const { log, storage, digests } = built
  // A power loss takes back every commit that no checkpoint made durable.
  const after = storage.crash({ kept: 0 })
  expect(after.applied).toEqual(log.end)
  expect(after.digest()).toBe(digests[2])
})

test('a checkpoint that began before the undo does not make it durable', async () => {
  const built = build([{ key: 'a' }, { key: 'b' }, { key: 'a' }])
  const early = built.storage.checkpoint()
  await undo(built, 2)
  expect((await early)?.lsn).toBe(4)
  expect(built.storage.crash({ kept: 0 }).applied).toEqual(built.log.end)
})

test('a point inside a chain of parts undoes the whole transaction', async () => {
  const built = build([{ key: 'a' }, { key: 'a', parts: 3 }, { key: 'b' }])
  const point = await undo(built, 4)
  expect(point.lsn).toBe(2)
  expect(built.storage.applied.lsn).toBe(2)
  expect(built.storage.digest()).toBe(built.digests[2])
  expect(built.log.end.lsn).toBe(4)
  // Right after the chain nothing of it is undone.
  const whole = build([{ key: 'a' }, { key: 'a', parts: 3 }, { key: 'b' }])
  expect((await undo(whole, 5)).lsn).toBe(5)
  expect(whole.storage.digest()).toBe(whole.digests[5])
})

test('a tail that needs pages changes nothing', () => {
  const cases: [string, Built, number][] = [
    ['it changes b', build([{ key: 'a' }, { key: 'b' }, { key: 'a' }], [memoryFormat({ pagesKey: 'b' })]), 1],
    ['the memory format undoes nothing', build([{ key: 'a' }], [withoutUndo(FIRST)]), 1],
    ['its log begins at LSN 4', build([{ key: 'a' }, { key: 'b' }, { key: 'a' }]), 1],
  ]
  cases[2]?.[1].log.collectTo(4)
  for (const [why, { log, storage, formats, clock }, after] of cases) {
    const before = [log.end, storage.applied, storage.digest()]
    expect(() => planUndo({ log, storage, formats, clock, transactionBytesMax: 1 << 20 }, after)).toThrow(why)
    expect([log.end, storage.applied, storage.digest()]).toEqual(before)
  }
})

test('data that is not as the records left it stays as it is', async () => {
  const built = build([{ key: 'a' }, { key: 'b' }, { key: 'a' }])
  built.storage.connection.overwrite('b', 'something else')
  const before = [built.log.end, built.storage.applied, built.storage.digest()]
  await expect(undo(built, 1)).rejects.toMatchObject({ code: 'DIVERGED', position: { lsn: 3 } })
  expect([built.log.end, built.storage.applied, built.storage.digest()]).toEqual(before)
})

test('a slot of its own never stands above what was undone', async () => {
  const built = build([{ key: 'a' }, { key: 'a', parts: 3 }, { key: 'b' }])
  built.log.slots.reserve('local', 6)
  await undo(built, 4)
  expect(built.log.slots.get('local')?.lsn).toBe(2)
})

function withoutUndo(format: LogFormat<MemoryConnection>): LogFormat<MemoryConnection> {
  const { id, name, version } = format
  return {
    id,
    name,
    version,
    recorder: (connection) => format.recorder(connection),
    applier: (connection) => format.applier(connection),
  }
}
