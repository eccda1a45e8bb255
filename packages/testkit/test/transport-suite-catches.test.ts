/** The suite of transports fails where it must: each breach of the contract by the test that is there for it. */
import { expect, test } from 'vitest'
import { BREACHES } from './breaches/breaches.ts'
import { runBreaches } from './breaches/run.ts'

test('each breach is caught by the test that is there for it, which passes on sound transports', async () => {
  const escaped = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
  const wanted = BREACHES.map(({ name, caughtBy }) => `${escaped(name)} .*${escaped(caughtBy)}`)
  const sound = BREACHES.map(
    ({ faults, caughtBy }) =>
      `sound ${faults === undefined ? 'in memory' : 'over sockets'} .*${escaped(caughtBy)}`,
  )
  const results = await runBreaches('transport', [...wanted, ...sound].join('|'))
  const passed = results.filter((result) => result.passed).map(({ name }) => name)
  const failed = results.filter((result) => !result.passed).map(({ name }) => name)
  expect(failed.filter((name) => name.includes('suite: sound'))).toEqual([])
  expect(passed.filter((name) => !name.includes('suite: sound'))).toEqual([])
  for (const { name, caughtBy } of BREACHES) {
    expect(failed.filter((each) => each.includes(`suite: ${name}`) && each.includes(caughtBy))).toHaveLength(
      1,
    )
  }
  expect(passed).toHaveLength(new Set(BREACHES.map(({ caughtBy }) => caughtBy)).size)
}, 60_000)
