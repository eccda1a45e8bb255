/** What a follower may do with what it received. */
import type { EpochHistory } from '@understudy/contracts'
import { BACKOFF_LIMITS, LINK_LIMITS, ReceiverMachine } from '@understudy/replication'
import { SeededRandom } from '@understudy/testkit'
import { InvariantBreach } from '../simulation/breach.ts'

const HISTORY: EpochHistory = [
  { number: 1, runId: '00000000000000aa', leader: 'a', firstLsn: 1, crcBefore: 0 },
]

/** Records that are durable here, but not yet safe from a failover, are not shown. */
export async function highWatermark(): Promise<void> {
  const machine = new ReceiverMachine({
    cluster: 'c',
    durable: 1,
    applied: 1,
    epoch: 1,
    link: LINK_LIMITS,
    backoff: BACKOFF_LIMITS,
    unsyncedBytesMax: 1e6,
    random: new SeededRandom('watermark'),
  })
  machine.step({ kind: 'start' }, 0)
  machine.step({ kind: 'greeted', history: HISTORY, end: 1 }, 0)
  machine.step(
    {
      kind: 'message',
      message: {
        type: 'welcome',
        version: 1,
        cluster: 'c',
        node: 'a',
        history: HISTORY,
        end: { epoch: 1, lsn: 9, crc: 9 },
        verdict: { kind: 'continue', from: 2 },
        heartbeatMs: 1000,
        deadlineMs: 5000,
      },
    },
    0,
  )
  const actions = [
    ...machine.step({ kind: 'appended', last: 9, epoch: 1, bytes: 900, highWatermark: 5 }, 1),
    ...machine.step({ kind: 'synced', durable: 9 }, 2),
  ]
  const applied = actions.flatMap((action) => (action.kind === 'apply' ? [action.upTo] : []))
  if (applied.length === 0) throw new Error('nothing was to be applied')
  if (applied.some((upTo) => upTo > 5))
    throw new InvariantBreach(
      'W1',
      `records up to ${Math.max(...applied)} are shown above the high watermark 5`,
    )
}
