/** When a lease is renewed: the decisions, as a script. */
import { expect, test } from 'vitest'
import { Keeping, type Step } from '../src/keeper/keeping.ts'

const TIMES = { ttlMs: 1000, stallMs: 300 }

/** Steps the machine through a life: renewals take `renewMs` and fail while `failing`, the main thread is silent while `silent`. */
function script(options: {
  readonly untilMs: number
  readonly renewMs?: number
  readonly failing?: readonly [number, number]
  readonly silent?: readonly [number, number]
}): string[] {
  const { untilMs, renewMs = 5, failing = [-1, -1], silent = [-1, -1] } = options
  const within = (atMs: number, [from, to]: readonly [number, number]): boolean => atMs >= from && atMs < to
  const keeping = new Keeping(TIMES, 0)
  const lines: string[] = []
  let nowMs = 0
  let validUntilMs = 900
  let last: Step['kind'] | undefined
  while (nowMs < untilMs) {
    const aliveAtMs = within(nowMs, silent) ? silent[0] : nowMs
    const step = keeping.next({ nowMs, aliveAtMs, validUntilMs })
    if (step.kind === 'over') return [...lines, `${nowMs} over${step.stalled ? ' stalled' : ''}`]
    if (step.kind === 'wait') {
      expect(step.delayMs).toBeGreaterThan(0)
      if (step.stalled && last !== 'wait') lines.push(`${nowMs} stalled`)
      if (step.stalled) last = 'wait'
      nowMs += step.delayMs
      continue
    }
    last = 'renew'
    const fails = within(nowMs, failing)
    lines.push(`${nowMs} renew ${step.timeoutMs}${fails ? ' fails' : ''}`)
    const sentMs = nowMs
    nowMs += fails ? step.timeoutMs : renewMs
    if (fails) keeping.failed(nowMs)
    else if (nowMs < validUntilMs) validUntilMs = sentMs + 900
  }
  return lines
}

test('in peace: four times in a lease', () => {
  expect(script({ untilMs: 1100 })).toEqual([
    '250 renew 250',
    '500 renew 250',
    '750 renew 250',
    '1000 renew 250',
  ])
})

test('without answers: tried until the end, never longer than what is left', () => {
  expect(script({ untilMs: 5000, failing: [0, 5000] })).toEqual([
    '250 renew 250 fails',
    '500 renew 250 fails',
    '750 renew 150 fails',
    '900 over',
  ])
})

test('after an outage: kept when one answer comes in time', () => {
  expect(script({ untilMs: 1100, failing: [0, 700] })).toEqual([
    '250 renew 250 fails',
    '500 renew 250 fails',
    '750 renew 150',
    '1000 renew 250',
  ])
})

test('with a main thread that is silent: no renewals, and the lease runs out', () => {
  expect(script({ untilMs: 9000, silent: [600, 9000] })).toEqual([
    '250 renew 250',
    '500 renew 250',
    '750 renew 250',
    '1000 stalled',
    '1650 over stalled',
  ])
})

test('with a main thread that comes back in time: renewed at once, nothing is lost', () => {
  expect(script({ untilMs: 1800, silent: [600, 1600] })).toEqual([
    '250 renew 250',
    '500 renew 250',
    '750 renew 250',
    '1000 stalled',
    '1600 renew 50',
  ])
})
