import {
  CONTROL_GROUP_ACKS,
  CONTROL_MARKER,
  FLAG_CONTINUES,
  FORMAT_CONTROL,
  UnderstudyError,
} from '@understudy/contracts'
import { MemoryStorage, SimulatedClock, memoryFormat } from '@understudy/testkit'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ApplyLoop, redo, type ApplyLimits, type RedoOptions } from '../src/index.ts'
import { outcomeOf, testPipeline } from './support/pipeline.ts'
import { MemoryLog, decodeRecord, splitRecords } from './support/memory-log.ts'
import { FORMAT, World } from './support/world.ts'

const clock = new SimulatedClock()

function optionsOf(
  log: MemoryLog,
  storage: MemoryStorage,
  limits: Partial<ApplyLimits> = {},
): RedoOptions<MemoryStorage['connection'], never> {
  return { log, storage: storage as never, formats: [FORMAT], clock, limits }
}

/** A log of `count` writes of one key each, and the storage that they make. */
async function written(count: number): Promise<{ log: MemoryLog; storage: MemoryStorage }> {
  const { clock, log, storage, set } = testPipeline()
  for (let i = 0; i < count; i++) await clock.complete(set(`k${i % 7}`, `${i}`))
  return { log, storage }
}

describe('redo', () => {
  test('brings a storage that a crash set back up to the log, wherever it was set back to', async () => {
    const { log, storage } = await written(20)
    const whole = storage.digest()
    for (let kept = 0; kept <= 21; kept++) {
      const { log: own, storage: live } = await written(20)
      const survivor = live.crash({ kept })
      const from = survivor.applied
      const result = await redo(optionsOf(own, survivor, { batchRecordsMax: 3 }))
      expect(survivor.digest()).toBe(whole)
      expect(survivor.applied).toEqual(log.end)
      expect(result).toMatchObject({ from, to: log.end, incompleteFrom: undefined })
      expect(result.batches).toBe(Math.ceil((log.end.lsn - from.lsn) / 3))
    }
  })

  test('stops at the position that it is told', async () => {
    const { log } = await written(20)
    const storage = new MemoryStorage()
    await redo({ ...optionsOf(log, storage), upTo: 10 })
    expect(storage.applied.lsn).toBe(10)
  })

  test('does nothing, and prepares nothing, when the storage is up to the log', async () => {
    const { log, storage } = await written(3)
    expect((await redo(optionsOf(log, storage))).batches).toBe(0)
    expect(storage.connection.prepared).toBe(false)
  })

  test('a log that lost records which the database has is named as such', async () => {
    const { log, storage } = await written(5)
    log.truncateAfter(4)
    expect(await outcomeOf(redo(optionsOf(log, storage)))).toBe('LOG_CORRUPT 1/6')
    expect(storage.applied.lsn).toBe(6)
  })

  test('a log of another history is named as such', async () => {
    const { storage } = await written(3)
    const other = testPipeline()
    for (let i = 0; i < 5; i++) await other.clock.complete(other.set('other', `${i}`))
    expect(await outcomeOf(redo(optionsOf(other.log, storage)))).toBe('LOG_CORRUPT 1/4')
  })

  test('a log that begins above the database is named as such', async () => {
    const { log } = await written(5)
    log.collectTo(4)
    expect(await outcomeOf(redo(optionsOf(log, new MemoryStorage())))).toBe('LOG_TRUNCATED 0/0')
  })
})

describe('applying', () => {
  function loopOver(
    log: MemoryLog,
    limits: Partial<ApplyLimits> = {},
    onMarker?: (lsn: number) => void,
  ): { loop: ApplyLoop<MemoryStorage['connection'], never>; storage: MemoryStorage } {
    const storage = new MemoryStorage()
    const loop = new ApplyLoop<MemoryStorage['connection'], never>({
      storage: storage as never,
      formats: [FORMAT],
      clock,
      limits,
      onMarker: ({ lsn }) => onMarker?.(lsn),
    })
    loop.fill(log, log.durable)
    return { loop, storage }
  }

  test('a record that cannot be applied leaves everything before it applied, and nothing after', async () => {
    const { log } = await written(10)
    const storage = new MemoryStorage()
    await redo({ ...optionsOf(log, storage), upTo: 3 })
    storage.connection.overwrite('k5', 'not what the leader had')
    expect(await outcomeOf(redo(optionsOf(log, storage)))).toBe('DIVERGED 1/7 <- DIVERGED')
    expect(storage.applied.lsn).toBe(6)
    expect(storage.get('k4')).toBe('4')
    expect(storage.get('k6')).toBeUndefined()
  })

  test('a batch ends with a marker, and the marker is told of before anything else is applied', async () => {
    const { clock, log, pipeline, set } = testPipeline()
    await clock.complete(
      Promise.all([set('a', '1'), pipeline.mark(), set('b', '1'), set('c', '1'), pipeline.mark()]),
    )
    const seen: string[] = []
    const { loop, storage } = loopOver(log, {}, (lsn) =>
      seen.push(`${lsn} of ${storage.applied.lsn}: ${storage.connection.size}`),
    )
    while (loop.step(log.durable) !== undefined);
    expect(seen).toEqual(['3 of 3: 1', '5 of 5: 3'])
  })

  test('a record of a format that was not given stops it', async () => {
    const { log } = await written(1)
    log.append([{ format: 77, flags: 0, committedAtMs: 0, payload: new Uint8Array(3) }])
    log.syncNow()
    const { loop, storage } = loopOver(log)
    expect(loop.step(log.durable)).toMatchObject({ lsn: 2 })
    expect(() => loop.step(log.durable)).toThrow(
      expect.objectContaining({ code: 'FORMAT_UNKNOWN', position: { epoch: 1, lsn: 3 } }),
    )
    expect(storage.applied.lsn).toBe(2)
    expect(() => loop.step(log.durable)).toThrow(expect.objectContaining({ code: 'FORMAT_UNKNOWN' }))
  })

  test('a control record of a newer version stops it', async () => {
    const { log } = await written(1)
    log.append([
      {
        format: FORMAT_CONTROL,
        flags: 0,
        committedAtMs: 0,
        payload: Uint8Array.of(CONTROL_GROUP_ACKS + 1),
      },
    ])
    log.syncNow()
    const { loop } = loopOver(log)
    expect(() => loop.step(log.durable)).toThrow(expect.objectContaining({ code: 'FORMAT_VERSION' }))
  })

  test('a COMMIT that fails stops it with nothing of the batch applied', async () => {
    const { log } = await written(5)
    const { loop, storage } = loopOver(log)
    storage.failCommit()
    expect(() => loop.step(log.durable)).toThrow(expect.objectContaining({ code: 'STORAGE_FAILED' }))
    expect(storage.applied.lsn).toBe(0)
    expect(loop.failure?.code).toBe('STORAGE_FAILED')
  })

  test('a record out of order is refused', async () => {
    const { log } = await written(5)
    const { loop } = loopOver(new MemoryLog())
    const [third] = [...log.records(3, 3)]
    if (third === undefined) throw new Error('no record')
    expect(() => loop.push(third)).toThrow(expect.objectContaining({ code: 'LOG_GAP' }))
  })

  test('whatever the limits of batches, the same data comes out', async () => {
    const { log, storage: leader } = await written(40)
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 50 }),
        fc.integer({ min: 1, max: 200 }),
        fc.integer({ min: 1, max: 500 }),
        (batchRecordsMax, batchBytesMax, queueBytesMax) => {
          const { loop, storage } = loopOver(log, { batchRecordsMax, batchBytesMax, queueBytesMax })
          for (;;) {
            if (loop.idle) loop.fill(log, log.durable)
            const before = storage.applied.lsn
            const point = loop.step(log.durable)
            if (point === undefined) break
            expect(point.lsn - before).toBeLessThanOrEqual(batchRecordsMax)
          }
          expect(storage.digest()).toBe(leader.digest())
          expect(storage.applied).toEqual(leader.applied)
        },
      ),
    )
  })
})

describe('large transactions', () => {
  const parts = (log: MemoryLog, count: number, isWhole: boolean): void => {
    for (let i = 0; i < count; i++) {
      const flags = isWhole && i === count - 1 ? 0 : FLAG_CONTINUES
      log.append([{ format: FORMAT.id, flags, committedAtMs: 0, payload: Uint8Array.of(1) }])
    }
    log.syncNow()
  }

  test('a leader cuts off an incomplete chain at the end of its log before its epoch begins', async () => {
    const { log, storage } = await written(4)
    const point = storage.applied
    parts(log, 3, false)
    const world = new World()
    const leader = await world.leader('a', { log, storage })
    expect(leader.leadership.cutRecords).toBe(3)
    expect(leader.leadership.redone.incompleteFrom).toBe(6)
    expect(log.history.at(-1)).toMatchObject({ number: 2, leader: 'a', firstLsn: 6, crcBefore: point.crc })
    expect(storage.applied).toEqual(log.end)
    await world.clock.complete(leader.set('x', '1'))
  })

  test('a chain that a new epoch interrupts is dropped by the applier', async () => {
    const { log, storage } = await written(4)
    parts(log, 3, false)
    log.startEpoch({ runId: 'fedcba9876543210', leader: 'b', committedAtMs: 0 })
    log.syncNow()
    const copy = new MemoryStorage()
    await redo(optionsOf(log, copy))
    expect(copy.digest()).toBe(storage.digest())
    expect(copy.applied).toEqual(log.end)
  })

  test('anything else within a chain is corruption', async () => {
    const { log } = await written(1)
    parts(log, 2, false)
    log.append([
      { format: FORMAT_CONTROL, flags: 0, committedAtMs: 0, payload: Uint8Array.of(CONTROL_MARKER) },
    ])
    log.syncNow()
    const copy = new MemoryStorage()
    expect(await outcomeOf(redo(optionsOf(log, copy)))).toBe('RECORD_CORRUPT 1/5')
    expect(copy.applied.lsn).toBe(2)
  })

  test('a chain over the limit is corruption, found before it is whole', async () => {
    const { log } = await written(1)
    parts(log, 20, false)
    const limits = { transactionBytesMax: 10 }
    expect(await outcomeOf(redo(optionsOf(log, new MemoryStorage(), limits)))).toBe('RECORD_CORRUPT 1/13')
  })

  test('payloads of any length come out as they went in', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 500 }), { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 200 }),
        async (lengths, recordBytesMax) => {
          const { clock, log, storage, set } = testPipeline({ limits: { recordBytesMax } })
          for (const [i, length] of lengths.entries()) await clock.complete(set(`k${i}`, 'x'.repeat(length)))
          const copy = new MemoryStorage()
          await redo(optionsOf(log, copy, { queueBytesMax: 64 }))
          expect(copy.digest()).toBe(storage.digest())
          expect(copy.applied).toEqual(log.end)
        },
      ),
      { numRuns: 30 },
    )
  })
})

describe('the start of leading', () => {
  test('restores what applying prepared, begins an epoch of its own, and shows it in the first receipt', async () => {
    const world = new World()
    const { log, storage } = await written(3)
    const survivor = storage.crash({ kept: 1 })
    const leader = await world.leader('b', { log, storage: survivor })
    expect(survivor.connection.prepared).toBe(false)
    expect(leader.leadership.epoch).toMatchObject({ number: 2, leader: 'b', firstLsn: 5 })
    expect(leader.leadership.epoch.runId).toMatch(/^[0-9a-f]{16}$/)
    const { receipt } = await world.clock.complete(leader.leadership.pipeline.write(() => undefined))
    expect(receipt.position).toEqual({ epoch: 2, lsn: 5 })
  })

  test('a log that cannot be synced begins no leading', async () => {
    const { log, storage } = await written(1)
    log.nextSyncError = new UnderstudyError('LOG_FAILED', 'EIO')
    const world = new World()
    expect(await outcomeOf(world.leader('a', { log, storage }))).toBe('LOG_FAILED')
  })
})

test('the memory log of these tests notices a flipped bit', async () => {
  const { log } = await written(2)
  const bytes = Buffer.from(log.read(1)?.bytes ?? [])
  bytes.writeUInt8(bytes.readUInt8(50) ^ 1, 50)
  expect(() => splitRecords(bytes).map(decodeRecord)).toThrow(/bad CRC/)
  expect(memoryFormat().id).toBe(FORMAT.id)
})
