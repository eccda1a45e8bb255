import type { Observation } from '@understudy/contracts'
import { expect, test } from 'vitest'
import { coordinatorView, decide } from '../src/index.ts'
import { any, member, observed, RUN_1 } from './observed.ts'

const OBSERVATION: Observation = {
  revision: '7',
  observedAtMs: 950,
  state: {
    cluster: 'k',
    epoch: 1,
    runId: RUN_1,
    leader: { name: 'a', addresses: ['tcp://a:1'] },
    acks: { rule: any(1, 'b', 'c') },
    ceilings: new Map([['note', 5n]]),
    paused: false,
  },
  lease: {
    grant: 'g',
    beat: '9',
    holder: 'a',
    epoch: 1,
    ttlMs: 400,
    released: false,
    seenAtMs: 500,
    freeAtMs: 900,
  },
}

test('what a coordinator holds is what a decision is made from', () => {
  const view = coordinatorView(OBSERVATION)
  expect(view).toEqual(observed([]).coordinator)
  // It goes into a record: nothing that JSON does not have.
  expect(JSON.parse(JSON.stringify(view))).toEqual(view)
  expect(decide(observed([member('b', 1), member('c', 1)], { coordinator: view })).action.kind).toBe(
    'stopReceivers',
  )
})

test('a new coordinator holds nothing yet', () => {
  expect(coordinatorView({ revision: '0', observedAtMs: 0 })).toEqual({ kind: 'reachable', revision: '0' })
})
