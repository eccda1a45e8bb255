import { SeededRandom } from '@understudy/testkit/random'
import { describe, expect, test } from 'vitest'
import { supersedes, Voter, type Promised } from '../src/index.ts'

const promise = (epoch: number, runId = `run-${epoch}`, candidate = 'b'): Promised => ({
  epoch,
  runId,
  candidate,
})
const ask = (voter: Voter, promised: Promised, nowMs = 0, hears = false, isPlanned = false): string =>
  voter.ask({ ...promised, isPlanned }, nowMs, hears).kind

function voter(promised?: Promised, grantMsMax = 0): Voter {
  return new Voter({ ...(promised && { promised }), startedAtMs: 0, grantMsMax })
}

describe('voter', () => {
  test('a promise is written down before it is given, and then given again to whoever has it', () => {
    const one = voter()
    expect(ask(one, promise(2))).toBe('persist')
    expect(one.promised).toBeUndefined()
    expect(ask(one, promise(2))).toBe('persist')
    one.persisted(promise(2))
    expect(ask(one, promise(2))).toBe('granted')
  })

  test('a promise says what was promised before it', () => {
    const one = voter()
    const first = one.follow(promise(1))
    expect(first).toEqual({ kind: 'persist', promised: promise(1) })
    one.persisted(promise(1))
    const next = { ...promise(3), previous: { epoch: 1, runId: 'run-1' } }
    expect(one.ask({ ...promise(3), isPlanned: false }, 0, false)).toEqual({
      kind: 'persist',
      promised: next,
    })
    // Asked again before it is durable, or later: the same.
    expect(one.ask({ ...promise(3), isPlanned: false }, 0, false)).toEqual({
      kind: 'persist',
      promised: next,
    })
    one.persisted(next)
    expect(one.follow(promise(3))).toEqual({ kind: 'granted', promised: next })
  })

  test('one epoch is promised to one run, and lower ones to nobody', () => {
    const one = voter(promise(5))
    expect(ask(one, promise(4))).toBe('refused')
    expect(ask(one, promise(5, 'another', 'c'))).toBe('refused')
    expect(ask(one, promise(6, 'another', 'c'))).toBe('persist')
  })

  test('nothing lower is acknowledged from the moment of asking, before it is durable even', () => {
    const one = voter(promise(1))
    expect(one.mayAck(1, 'run-1')).toBe(true)
    ask(one, promise(2))
    expect(one.mayAck(1, 'run-1')).toBe(false)
    expect(one.mayAck(2, 'run-2')).toBe(true)
    expect(one.mayAck(2, 'another')).toBe(false)
    // An epoch that was never promised or followed here.
    expect(one.mayAck(3, 'run-3')).toBe(false)
  })

  test('following a leader is a promise too', () => {
    const one = voter(promise(2))
    expect(one.follow(promise(1)).kind).toBe('refused')
    expect(one.follow(promise(2, 'another')).kind).toBe('refused')
    expect(one.follow(promise(2)).kind).toBe('granted')
    expect(one.follow(promise(3)).kind).toBe('persist')
    one.persisted(promise(3))
    expect(ask(one, promise(2))).toBe('refused')
  })

  test('a node that hears its leader promises nothing, except where the leader takes part', () => {
    const one = voter(promise(1))
    expect(ask(one, promise(2), 0, true)).toBe('refused')
    expect(ask(one, promise(2), 0, true, true)).toBe('persist')
  })

  test('what it said to its leader binds it for as long, and for the longest time after a start', () => {
    const one = voter(promise(1), 400)
    expect(ask(one, promise(2), 399)).toBe('refused')
    expect(one.grant(promise(1), 1000, 500, true)).toBe(400)
    expect(ask(one, promise(2), 899)).toBe('refused')
    expect(one.grant(promise(1), 1000, 600, false)).toBe(0)
    expect(one.grant(promise(1, 'another'), 1000, 600, true)).toBe(0)
    expect(ask(one, promise(2), 900)).toBe('persist')
    // It promised another one: the old leader is followed no more.
    expect(one.grant(promise(1), 1000, 901, true)).toBe(0)
  })

  test('what supersedes a leader: a higher number, or its own with another run', () => {
    expect(supersedes(promise(2), promise(1))).toBe(true)
    expect(supersedes(promise(1), promise(1))).toBe(false)
    expect(supersedes(promise(1, 'another'), promise(1))).toBe(true)
    expect(supersedes(promise(1), promise(2))).toBe(false)
  })

  test('through any crashes no ack is below a promise that was answered, and no number is promised twice', () => {
    for (let seed = 0; seed < 300; seed++) {
      const random = new SeededRandom(seed)
      let disk: Promised | undefined
      let one = voter()
      let answered = 0
      const runs = new Map<number, string>()
      for (let step = 0; step < 60; step++) {
        const epoch = random.between(1, 8)
        const wanted = promise(epoch, `run-${epoch}-${random.below(2)}`)
        const answer = random.chance(0.5)
          ? one.ask({ ...wanted, isPlanned: false }, 0, false)
          : one.follow(wanted)
        if (answer.kind !== 'refused') {
          const isWritten = answer.kind === 'granted' || random.chance(0.7)
          if (isWritten) {
            disk = answer.promised
            one.persisted(answer.promised)
            answered = Math.max(answered, epoch)
            expect(runs.get(epoch) ?? wanted.runId, `seed ${seed}`).toBe(wanted.runId)
            runs.set(epoch, wanted.runId)
          }
        }
        const acked = random.between(1, 8)
        for (const run of [0, 1])
          if (one.mayAck(acked, `run-${acked}-${run}`))
            expect(acked, `seed ${seed}`).toBeGreaterThanOrEqual(answered)
        if (random.chance(0.1)) one = voter(disk)
      }
    }
  })
})
