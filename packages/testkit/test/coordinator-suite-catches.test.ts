/** The suite of coordinators fails where it must: each breach of the contract by the test that is there for it. */
import { expect, test } from 'vitest'
import { COORDINATOR_BREACHES as BREACHES } from './breaches/coordinator-breaches.ts'
import { runBreaches } from './breaches/run.ts'

test('each breach is caught by the test that is there for it, which passes on a sound coordinator', async () => {
  const escaped = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
  const wanted = BREACHES.flatMap(({ name, caughtBy }) =>
    [name, 'sound'].map((each) => `suite: ${escaped(each)} .*${escaped(caughtBy)}`),
  )
  const results = await runBreaches('coordinator', wanted.join('|'))
  const named = (passed: boolean): string[] =>
    results.filter((result) => result.passed === passed).map(({ name }) => name)
  expect(named(false).filter((name) => name.includes('suite: sound'))).toEqual([])
  expect(named(true).filter((name) => !name.includes('suite: sound'))).toEqual([])
  for (const { name, caughtBy } of BREACHES)
    expect(
      named(false).filter((each) => each.includes(`suite: ${name} `) && each.includes(caughtBy)),
    ).toHaveLength(1)
}, 60_000)
