import * as fc from 'fast-check'
import { CONTROL_ACKS, FORMAT_CONTROL, type Log } from '@understudy/contracts'
import { expect, test } from 'vitest'
import { AckStates, knownAckState } from '../src/ack-log.ts'
import { formatAckRecord, recordOfState } from '../src/ack-change.ts'
import { MemoryLog } from './support/memory-log.ts'

type Step = 'rows' | 'epoch' | 'sync' | 'cut' | { readonly count: number }

const steps = fc.array(
  fc.oneof(
    fc.constantFrom<Step>('rows', 'rows', 'rows', 'epoch', 'sync', 'cut'),
    fc.record({ count: fc.integer({ min: 1, max: 3 }) }),
  ),
  { maxLength: 30 },
)

async function take(log: MemoryLog, step: Step, n: number): Promise<void> {
  if (step === 'rows') log.append([{ format: 7, flags: 0, committedAtMs: 0, payload: new Uint8Array(9) }])
  else if (step === 'epoch')
    log.startEpoch({ runId: n.toString(16).padStart(16, '0'), leader: 'a', committedAtMs: 0 })
  else if (step === 'sync') await log.sync()
  else if (step === 'cut') {
    await log.sync()
    log.truncateAfter(Math.max(0, log.end.lsn - 2))
    await log.sync()
  } else {
    const rule = { level: 'durable', of: { kind: 'any', count: step.count, names: ['b', 'c', 'd'] } } as const
    const text = formatAckRecord(recordOfState({ rule })!)
    log.append([
      {
        format: FORMAT_CONTROL,
        flags: 0,
        committedAtMs: 0,
        payload: Buffer.from([CONTROL_ACKS, ...Buffer.from(text)]),
      },
    ])
  }
}

test('whoever asks all the time gets what the whole log says, whatever is appended or cut', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (all) => {
      const log = new MemoryLog()
      const states = new AckStates()
      log.startEpoch({ runId: 'f'.repeat(16), leader: 'a', committedAtMs: 0 })
      for (const [n, step] of all.entries()) {
        await take(log, step, n)
        expect(states.known(log)).toEqual(knownAckState(log))
      }
    }),
  )
})

test('and only what is new is read for it', async () => {
  const log = new MemoryLog()
  const states = new AckStates()
  log.startEpoch({ runId: 'f'.repeat(16), leader: 'a', committedAtMs: 0 })
  let read = 0
  const counting = new Proxy<Log>(log, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target)
      if (name !== 'records' || typeof value !== 'function')
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      return function* (...range: [number, number?]) {
        for (const record of target.records(...range)) {
          read++
          yield record
        }
      }
    },
  })
  for (let n = 0; n < 500; n++) {
    await take(log, 'rows', n)
    await log.sync()
    states.known(counting)
    states.known(counting)
  }
  expect(read).toBeLessThan(510)
})
