import { expect, test } from 'vitest'
import { ACK_FIGURES, ACK_FIGURE_NAMES, ACK_SCENARIO_NAMES, POLICY_NAMES } from '../src/index.ts'
import { DelayLine } from '../src/acks/delay-line.ts'
import { allAckFigures } from '../src/acks/figures.ts'
import { resolveAckOptions, scenarioOf } from '../src/acks/options.ts'
import { FOLLOWER_NAMES, policyOf, type PolicyName, type Writers } from '../src/acks/policies.ts'
import { PolicySamples, type Measured } from '../src/acks/rates.ts'
import { policyFigures } from '../src/scenarios/ack-policies.ts'

const KEYS = [
  ...['received', 'durable', 'any1', 'sync', 'applied'].flatMap((policy) =>
    [1, 64, 256].map((writers) => `${policy}VsAsync${writers}`),
  ),
  'durable64At2ms',
  'durable256At2ms',
  'durable64At20ms',
  'durable256At20ms',
]

function measured(perSecond: number): Measured {
  return {
    commits: perSecond,
    perSecond,
    latency: { p50: 1, p99: 2, max: 3 },
    leaderUs: 10,
    followersUs: 20,
  }
}

test('a result has exactly the published keys, whatever was measured', () => {
  expect(Object.keys(allAckFigures({}))).toEqual(KEYS)
  expect(allAckFigures({ durable256At2ms: 5 })).toMatchObject({ durable256At2ms: 5, durableVsAsync64: null })
})

test('what was promised has a target: 64 writers beside none, 256 writers on slow networks', () => {
  const withTarget = ACK_FIGURE_NAMES.filter((name) => ACK_FIGURES[name].target !== undefined)
  expect(withTarget.map((name) => `${name} ${JSON.stringify(ACK_FIGURES[name].target)}`)).toEqual([
    'durableVsAsync64 {"atLeast":0.8}',
    'durable256At2ms {"atLeast":30000}',
    'durable256At20ms {"atLeast":8000}',
  ])
})

test('policies name both followers, and differ from each other', () => {
  const rules = POLICY_NAMES.map((name) => policyOf(name))
  expect(new Set(rules.map((rule) => JSON.stringify(rule))).size).toBe(POLICY_NAMES.length)
  for (const { level, of } of rules) {
    if (level !== 'local') expect(of?.names).toEqual(FOLLOWER_NAMES)
    else expect(of).toBeUndefined()
  }
})

test('a policy is compared with none of the same round, and what was left out gives no figure', () => {
  const samples = new PolicySamples()
  const push = (policy: PolicyName, writers: Writers, values: readonly number[]): void =>
    values.forEach((value) => samples.push(policy, writers, measured(value)))
  push('async', 64, [100, 10, 50])
  push('durable', 64, [80, 9, 35])
  push('durable', 256, [80])
  expect(policyFigures(samples)).toEqual({ durableVsAsync64: 0.8 })
  expect(samples.rate('durable', 64)).toBe(35)
  expect(samples.rate('sync', 64)).toBeUndefined()
  expect(samples.rates(['durable'], [64]).durable?.['64']).toMatchObject({
    vsAsync: [0.8, 0.9, 0.7],
    p99Ms: { median: 2 },
    leaderUs: { median: 10 },
    followersUs: { median: 20 },
  })
})

test('a figure brings its whole scenario, quick is short unless told otherwise, and unknown names are refused', () => {
  expect(new Set(ACK_FIGURE_NAMES.map(scenarioOf))).toEqual(new Set(ACK_SCENARIO_NAMES))
  expect(resolveAckOptions({ only: ['durable64At20ms'] }).scenarios).toEqual(['delays'])
  expect(resolveAckOptions({ policy: ['durable', 'async'] }).policies).toEqual(['async', 'durable'])
  expect(resolveAckOptions()).toMatchObject({
    rounds: 5,
    seconds: 2,
    exclusive: false,
    policies: POLICY_NAMES,
  })
  expect(resolveAckOptions({ quick: true })).toMatchObject({ rounds: 1, seconds: 0.5 })
  expect(resolveAckOptions({ quick: true, rounds: 3 })).toMatchObject({ rounds: 3, seconds: 0.5 })
  for (const options of [{ only: ['speed'] }, { policy: ['all'] }, { rounds: 0.5 }, { seconds: 0 }])
    expect(() => resolveAckOptions(options)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
})

test('a delay line hands on in order, nothing before its time, and keeps what comes later', () => {
  const line = new DelayLine<string>(10)
  expect(line.dueMs).toBe(Number.POSITIVE_INFINITY)
  line.push('a', 0)
  line.push('b', 0)
  line.push('c', 4)
  expect(line.dueMs).toBe(10)
  expect(line.takeDue(9.999)).toEqual([])
  expect(line.takeDue(10).map(({ item }) => item)).toEqual(['a', 'b'])
  expect(line.dueMs).toBe(14)
  expect(line.takeDue(100)).toEqual([{ item: 'c', cameMs: 4 }])
})
