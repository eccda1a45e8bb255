/** A ledger that overlooks a loss would make the demo say "ok" for ever: each kind of loss is shown to it. */
import { expect, test } from 'vitest'
import { IdLedger, type Ticket } from '../src/demo/ids.ts'
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

function ids(): IdLedger {
  const made = new IdLedger()
  made.give(1, 'one')
  made.give(2, 'two')
  // Done before, and answered without what it returned.
  made.give(undefined, 'three')
  return made
}

const WHOLE: readonly Ticket[] = [
  [1, 'one'],
  [2, 'two'],
  [7, 'three'],
]

test('each id names the row that it was given for', () => {
  expect(ids().check(WHOLE)).toEqual({ given: 2, reused: 0, lost: 0, unexplained: 0, examples: [] })
})

test('an id that two writes were given is used again, whoever has the row', () => {
  const twice = ids()
  twice.give(2, 'four')
  expect(twice.check([...WHOLE, [8, 'four']])).toEqual({
    given: 2,
    reused: 1,
    lost: 0,
    unexplained: 0,
    examples: ["id 2 was given to 'two' and to 'four'"],
  })
})

test('an id whose row is another one now is used again, and the row of the first is lost', () => {
  const after = ids()
  after.give(undefined, 'thief')
  expect(
    after.check([
      [1, 'one'],
      [2, 'thief'],
      [7, 'three'],
    ] as const),
  ).toEqual({
    given: 2,
    reused: 1,
    lost: 1,
    unexplained: 0,
    examples: ["id 2 was given to 'two' and is a row of 'thief'", "the row of 'two' is absent"],
  })
})

test('a lost row, a write that was done twice and a row of nobody are each counted', () => {
  expect(ids().check(WHOLE.slice(1))).toMatchObject({ reused: 0, lost: 1, unexplained: 0 })
  expect(ids().check([...WHOLE, [8, 'one']])).toMatchObject({
    reused: 0,
    lost: 0,
    unexplained: 1,
    examples: ["id 8 is a row of 'one', which has one"],
  })
  expect(ids().check([...WHOLE, [9, 'ghost']]).examples).toEqual(["id 9 is a row of 'ghost', who wrote none"])
})
