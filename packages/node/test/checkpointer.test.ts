import { LOCAL_SLOT, UnderstudyError, type Log, type LogPoint } from '@understudy/contracts'
import { openLog } from '@understudy/log'
import { SeededRandom, SimulatedClock, SimulatedDisk } from '@understudy/testkit'
import { expect, onTestFinished, test } from 'vitest'
import { Checkpointer, type CheckpointedStorage } from '../src/checkpointer.ts'

class Storage implements CheckpointedStorage {
  applied = { lsn: Number.MAX_SAFE_INTEGER }
  uncheckpointedBytes = 0
  readonly calls: PromiseWithResolvers<LogPoint | undefined>[] = []

  checkpoint(): Promise<LogPoint | undefined> {
    const call = Promise.withResolvers<LogPoint | undefined>()
    this.calls.push(call)
    return call.promise
  }
}

interface Rig {
  readonly clock: SimulatedClock
  readonly log: Log
  readonly storage: Storage
  readonly checkpointer: Checkpointer
  readonly failures: UnderstudyError[]
}

function rig(): Rig {
  const clock = new SimulatedClock()
  const random = new SeededRandom('checkpointer')
  const disk = new SimulatedDisk({ random })
  const log = openLog({ directory: '/log', files: disk.mount(), clock, random, segmentBytes: 8192 })
  log.startEpoch({ runId: '00c0ffee00c0ffee', leader: 'a', committedAtMs: 0 })
  log.slots.reserve(LOCAL_SLOT, 0)
  for (let i = 0; i < 40; i++)
    log.append([{ format: 1, flags: 0, committedAtMs: 0, payload: new Uint8Array(1000) }])
  log.syncNow()
  const storage = new Storage()
  const failures: UnderstudyError[] = []
  const checkpointer = new Checkpointer({
    storage,
    log,
    clock,
    bytes: 1000,
    intervalMs: 100,
    failed: (error) => failures.push(error),
  })
  onTestFinished(() => log.close())
  return { clock, log, storage, checkpointer, failures }
}

test('a checkpoint begins when enough bytes wait, one at a time, and lets go of the log once it is done', async () => {
  const { clock, log, storage, failures } = rig()
  storage.uncheckpointedBytes = 999
  await clock.advance(1000)
  expect(storage.calls).toHaveLength(0)
  storage.uncheckpointedBytes = 1000
  await clock.advance(1000)
  expect(storage.calls).toHaveLength(1)
  expect(log.first).toBe(1)
  storage.calls[0]?.resolve({ epoch: 1, lsn: 30, crc: 0 })
  storage.uncheckpointedBytes = 0
  await clock.advance(1000)
  expect(log.slots.get(LOCAL_SLOT)?.lsn).toBe(30)
  expect(log.first).toBeGreaterThan(1)
  expect(log.first).toBeLessThanOrEqual(31)
  expect(storage.calls).toHaveLength(1)
  expect(failures).toEqual([])
})

test('a checkpoint that could not complete lets go of nothing and is tried again', async () => {
  const { clock, log, storage } = rig()
  storage.uncheckpointedBytes = 5000
  await clock.advance(100)
  storage.calls[0]?.resolve(undefined)
  await clock.advance(100)
  expect(log.slots.get(LOCAL_SLOT)?.lsn).toBe(0)
  expect(log.first).toBe(1)
  expect(storage.calls).toHaveLength(2)
})

test('calls of run share the checkpoint under way', async () => {
  const { checkpointer, storage } = rig()
  const runs = [checkpointer.run(), checkpointer.run()]
  expect(storage.calls).toHaveLength(1)
  storage.calls[0]?.resolve({ epoch: 1, lsn: 5, crc: 0 })
  await Promise.all(runs)
})

test('a failed checkpoint is reported once, with a code, and no other follows', async () => {
  const { clock, log, storage, failures } = rig()
  storage.uncheckpointedBytes = 5000
  await clock.advance(100)
  storage.calls[0]?.reject(new Error('the disk is gone'))
  await clock.advance(1000)
  expect(failures).toHaveLength(1)
  expect(failures[0]).toMatchObject({ code: 'STORAGE_FAILED', cause: { message: 'the disk is gone' } })
  expect(storage.calls).toHaveLength(1)
  expect(log.first).toBe(1)
})

test('bytes that cannot be asked for are a failure, not an unhandled one', async () => {
  const { clock, storage, failures } = rig()
  const closed = new UnderstudyError('CLOSED', 'closed')
  Object.defineProperty(storage, 'uncheckpointedBytes', {
    get: () => {
      throw closed
    },
  })
  await clock.advance(1000)
  expect(failures).toEqual([closed])
})

test('close waits for the checkpoint under way, then nothing happens any more', async () => {
  const { clock, log, storage, checkpointer, failures } = rig()
  storage.uncheckpointedBytes = 5000
  await clock.advance(100)
  const closing = checkpointer.close()
  storage.calls[0]?.resolve({ epoch: 1, lsn: 30, crc: 0 })
  await closing
  expect(log.slots.get(LOCAL_SLOT)?.lsn).toBe(0)
  await clock.advance(1000)
  expect(storage.calls).toHaveLength(1)
  expect(clock.pending).toBe(0)
  expect(failures).toEqual([])
})

test('a checkpoint of what was undone meanwhile moves nothing', async () => {
  const { clock, log, storage } = rig()
  storage.uncheckpointedBytes = 5000
  await clock.advance(100)
  storage.applied = { lsn: 10 }
  storage.calls[0]?.resolve({ epoch: 1, lsn: 30, crc: 0 })
  await clock.advance(100)
  expect(log.slots.get(LOCAL_SLOT)?.lsn).toBe(0)
})
