import { LOCAL_SLOT, type UnderstudyError } from '@understudy/contracts'
import { openLog } from '@understudy/log'
import { SeededRandom, SimulatedClock, SimulatedDisk } from '@understudy/testkit'
import { expect, test } from 'vitest'
import { Checkpointer } from '../src/checkpointer.ts'

test('a log that failed outside a write is noticed within an interval, so that no leader stays without followers', async () => {
  const clock = new SimulatedClock()
  const disk = new SimulatedDisk({ random: new SeededRandom('log failure') })
  const log = openLog({ directory: '/log', files: disk.mount(), clock, random: disk.random })
  log.slots.reserve(LOCAL_SLOT, 0)
  const failures: UnderstudyError[] = []
  const checkpointer = new Checkpointer({
    storage: { uncheckpointedBytes: 0, applied: { lsn: 0 }, checkpoint: async () => undefined },
    log,
    clock,
    bytes: 1000,
    intervalMs: 100,
    failed: (error) => failures.push(error),
  })
  await clock.advance(300)
  expect(failures).toEqual([])
  disk.failOnce('syncDirectory')
  expect(() => log.slots.reserve('follower', 0)).toThrow(expect.objectContaining({ code: 'LOG_FAILED' }))
  await clock.advance(300)
  expect(failures).toEqual([log.failure])
  await checkpointer.close()
  await log.close()
})
