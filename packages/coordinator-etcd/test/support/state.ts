/** A state that tests publish. */
import type { PublishedState } from '@understudy/contracts'

export const STATE: PublishedState = {
  cluster: 'c0ffee',
  epoch: 1,
  runId: '0123456789abcdef',
  acks: { rule: { level: 'local' } },
  ceilings: new Map(),
  paused: false,
}
