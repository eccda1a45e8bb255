/** A ledger that overlooks a loss would make the demo say "ok" for ever: each kind of loss is shown to it. */
import { expect, test } from 'vitest'
import { Ledger } from '../src/demo/ledger.ts'

function ledger(): Ledger {
  const made = new Ledger()
  made.acknowledge(1, 'inserted')
  made.acknowledge(2, 'inserted')
  made.acknowledge(2, 'updated')
  made.acknowledge(3, 'inserted')
  made.acknowledge(3, undefined)
  return made
}

test('everything promised is found', () => {
  const found = new Map([
    [1, 'inserted'],
    [2, 'updated'],
  ])
  expect(ledger().check(found)).toEqual({ promises: 3, lost: 0, unexplained: 0, examples: [] })
})

test('a lost insert, a lost update and a lost delete are each counted', () => {
  const lostInsert = new Map([[2, 'updated']])
  expect(ledger().check(lostInsert)).toEqual({
    promises: 3,
    lost: 1,
    unexplained: 0,
    examples: ["row 1 is absent instead of 'inserted'"],
  })
  const lostUpdate = new Map([
    [1, 'inserted'],
    [2, 'inserted'],
  ])
  expect(ledger().check(lostUpdate).examples).toEqual(["row 2 is 'inserted' instead of 'updated'"])
  const lostDelete = new Map([
    [1, 'inserted'],
    [2, 'updated'],
    [3, 'inserted'],
  ])
  expect(ledger().check(lostDelete).examples).toEqual(["row 3 is 'inserted' instead of absent"])
})

test('an unanswered write may be there or not, and nothing else', () => {
  const open = new Ledger()
  open.acknowledge(1, 'before')
  open.leaveOpen(1, 'after')
  open.leaveOpen(2, 'perhaps')
  const check = (...rows: [number, string][]): [number, number] => {
    const { lost, unexplained } = open.check(new Map(rows))
    return [lost, unexplained]
  }
  expect(check([1, 'before'])).toEqual([0, 0])
  expect(check([1, 'after'], [2, 'perhaps'])).toEqual([0, 0])
  expect(check([1, 'other'])).toEqual([1, 0])
  expect(check()).toEqual([1, 0])
  expect(check([1, 'before'], [2, 'other'])).toEqual([0, 1])
})

test('an unanswered delete may have been done', () => {
  const open = new Ledger()
  open.acknowledge(1, 'there')
  open.leaveOpen(1, undefined)
  expect(open.check(new Map()).lost).toBe(0)
  expect(open.check(new Map([[1, 'there']])).lost).toBe(0)
})

test('a row that nobody wrote is told', () => {
  const found = new Map([
    [1, 'inserted'],
    [2, 'updated'],
    [99, 'ghost'],
  ])
  expect(ledger().check(found)).toEqual({
    promises: 3,
    lost: 0,
    unexplained: 1,
    examples: ["row 99 is 'ghost' and was never written so"],
  })
})
