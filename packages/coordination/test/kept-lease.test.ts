/** What the thread that writes knows of its lease. */
import { expect, test } from 'vitest'
import { LeaseCell } from '../src/keeper/cell.ts'
import { Kept } from '../src/keeper/kept-lease.ts'
import { sharedValidity } from '../src/keeper/shared-validity.ts'
import { Hands } from './support/hands.ts'

const MS = 1_000_000n

function begin(): { cell: LeaseCell; hands: Hands; kept: Kept; dropped: unknown[] } {
  const hands = new Hands()
  const cell = new LeaseCell()
  const nowNs = (): bigint => BigInt(hands.monotonicMs) * MS
  cell.begin(nowNs() + 900n * MS)
  const dropped: unknown[] = []
  const kept = new Kept({
    terms: { grant: '1', holder: 'a', epoch: 4, ttlMs: 1000 },
    validity: sharedValidity(cell, hands, nowNs),
    drop: async (release) => void dropped.push(release),
  })
  return { cell, hands, kept, dropped }
}

test('what ran out is over, for whoever asks and for the thread that renews', async () => {
  const { cell, hands, kept, dropped } = begin()
  hands.pass(899)
  expect([kept.isValid(), kept.isValid(0.5), kept.isValid(1), kept.validForMs()]).toEqual([
    true,
    true,
    false,
    1,
  ])
  hands.pass(1)
  expect(kept.isValid()).toBe(false)
  // The renewing thread had an answer at the same moment: it comes too late.
  expect(cell.extend(BigInt(hands.monotonicMs) * MS + 900n * MS)).toBe(false)
  expect([kept.isValid(), kept.validForMs()]).toEqual([false, 0])
  expect(kept.lost.reason).toMatchObject({ code: 'LEASE_LOST', details: { reason: 'ran out', epoch: 4 } })
  expect(dropped).toEqual([undefined])
})

test('what is renewed in time goes on, and never backwards', () => {
  const { cell, hands, kept } = begin()
  hands.pass(500)
  expect(cell.extend(BigInt(hands.monotonicMs) * MS + 900n * MS)).toBe(true)
  expect(cell.extend(BigInt(hands.monotonicMs) * MS + 100n * MS)).toBe(true)
  expect(kept.validForMs()).toBe(900)
})

test('a machine that was suspended has lost it, however short it was, and whatever the renewing thread says', () => {
  const { cell, hands, kept } = begin()
  hands.pass(100)
  expect(kept.isValid()).toBe(true)
  // The wall clock alone: somebody set it.
  hands.wallMs += 5000
  expect(kept.isValid()).toBe(true)
  hands.wallMs += 300
  hands.upMs += 300
  expect(kept.isValid()).toBe(false)
  expect(cell.extend(BigInt(hands.monotonicMs) * MS + 900n * MS)).toBe(false)
  expect(kept.lost.reason).toMatchObject({ details: { reason: 'suspended' } })
})

test('whoever listens hears of it in a turn of their own, once', async () => {
  const { hands, kept } = begin()
  let told = 0
  kept.lost.addEventListener('abort', () => told++)
  hands.pass(2000)
  expect(kept.isValid()).toBe(false)
  expect(told).toBe(0)
  await Promise.resolve()
  expect(told).toBe(1)
  kept.ended('stalled')
  await Promise.resolve()
  expect(told).toBe(1)
  expect(kept.lost.reason).toMatchObject({ details: { reason: 'ran out' } })
})

test('what is over is not given back', async () => {
  const { hands, kept, dropped } = begin()
  hands.pass(2000)
  await kept.release()
  expect(dropped).toEqual([undefined])
  const other = begin()
  await other.kept.release({ timeoutMs: 5 })
  expect(other.dropped).toEqual([{ timeoutMs: 5 }])
  expect(other.kept.isValid()).toBe(false)
})

test('a renewal in the middle of asking gives too little, not more than the lease has', () => {
  const hands = new Hands()
  const cell = new LeaseCell()
  const at = (): bigint => BigInt(hands.monotonicMs) * MS
  cell.begin(at() + 900n * MS)
  const validity = sharedValidity(cell, hands, () => {
    const asked = at()
    hands.pass(5)
    cell.extend(at() + 900n * MS)
    return asked
  })
  expect(validity.leftMs()).toBe(900)
  expect(validity.leftMs()).toBe(900)
})
