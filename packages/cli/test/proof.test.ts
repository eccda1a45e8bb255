/** A proof that cannot fail proves nothing: each thing that it looks for is broken once. */
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { Client } from '@understudy/client'
import { systemClock } from '@understudy/contracts'
import { connectTo } from '../src/connections.ts'
import { loadCities, type City } from '../src/demo/dataset.ts'
import { prove, type Proof } from '../src/demo/proof.ts'
import { waitUntil } from '../src/demo/waiting.ts'
import { Workload } from '../src/demo/workload.ts'
import { startNode, temporaryFolder } from './helpers.ts'

interface Stage {
  readonly leader: Client
  readonly follower: Client
  readonly cities: readonly City[]
  readonly workload: Workload
  readonly prove: (follower?: Client) => Promise<Proof>
}

/** A leader and a follower after some work, which has stopped. */
async function stage(): Promise<Stage> {
  const folder = temporaryFolder()
  const a = await startNode('a', join(folder, 'a'))
  const b = await startNode('b', join(folder, 'b'), '--leader', a.address)
  const cities = loadCities(700)
  const clock = systemClock()
  const { signal } = new AbortController()
  const workload = new Workload([a.address], clock, signal)
  onTestFinished(() => workload.close())
  await workload.load(cities, () => {})
  await waitUntil(() => workload.commits > 300, 'there was some work', { clock, signal, timeoutMs: 20_000 })
  await workload.stop()
  const [leader, follower] = await Promise.all([connectTo(a.address), connectTo(b.address)])
  onTestFinished(async () => void (await Promise.all([leader.close(), follower.close()])))
  const proveIt = (other: Client = follower): Promise<Proof> =>
    prove(leader, [other], cities, workload, () => {})
  return { leader, follower, cities, workload, prove: proveIt }
}

test('all that was acknowledged is found, and both nodes have one digest', async () => {
  const { prove } = await stage()
  const { ackedLost, idsReused, nodes, problems } = await prove()
  expect({ ackedLost, idsReused, problems }).toEqual({ ackedLost: 0, idsReused: 0, problems: [] })
  expect(nodes.map(({ name }) => name)).toEqual(['a', 'b'])
  expect(new Set(nodes.map(({ digest, position }) => `${digest} ${position}`)).size).toBe(1)
})

test('a row that is gone, a city that changed and half of a transaction are told', async () => {
  const { leader, prove } = await stage()
  await leader.write([
    { sql: 'delete from visit where id = (select max(id) from visit)' },
    { sql: "update city set name = 'Nowhere' where id = 3" },
  ])
  const { ackedLost, problems } = await prove()
  expect(ackedLost).toBe(2)
  expect(problems).toEqual([
    '1 cities of acknowledged writes are missing or changed',
    expect.stringMatching(/^1 acknowledged writes are lost: row \d+ is absent instead of '\d+\.\d+'$/),
    expect.stringMatching(/^a counts \d+ visits in its cities and holds \d+$/),
    expect.stringMatching(/^b counts \d+ visits in its cities and holds \d+$/),
  ])
})

test('an id whose row is another one now is used again', async () => {
  const { leader, prove } = await stage()
  await leader.write([
    { sql: 'delete from ticket where id = 5' },
    { sql: "insert into ticket (id, holder) values (5, 'thief')" },
  ])
  const { ackedLost, idsReused, problems } = await prove()
  expect({ ackedLost, idsReused }).toEqual({ ackedLost: 1, idsReused: 1 })
  expect(problems).toEqual([
    expect.stringMatching(/^1 ids were used again: id 5 was given to '\d+\.\d+' and is a row of 'thief'/),
  ])
})

test('a write that was done twice, and one whose row is gone, are told', async () => {
  const { leader, prove } = await stage()
  await leader.write([{ sql: 'insert into ticket (holder) select holder from ticket where id = 7' }])
  expect((await prove()).problems).toEqual([
    expect.stringMatching(/^0 acknowledged tickets are lost, 1 are as nobody wrote them: .* which has one$/),
  ])
  await leader.write([{ sql: 'delete from ticket where id = 9' }])
  const { ackedLost, idsReused } = await prove()
  expect({ ackedLost, idsReused }).toEqual({ ackedLost: 1, idsReused: 0 })
})

test('a row that nobody wrote is told', async () => {
  const { leader, prove } = await stage()
  await leader.write([
    { sql: "insert into visit values (999999999, 1, 'ghost')" },
    { sql: 'update city set visits = visits + 1 where id = 1' },
  ])
  const { ackedLost, problems } = await prove()
  expect(ackedLost).toBe(0)
  expect(problems).toEqual([expect.stringContaining("row 999999999 is 'ghost'")])
})

test('a follower with other rows has another digest, and its table is named', async () => {
  const { follower, prove } = await stage()
  const other = {
    node: follower.node,
    cluster: follower.cluster,
    read: follower.read.bind(follower),
    async digest(...call: Parameters<Client['digest']>) {
      const { position, tables } = await follower.digest(...call)
      const changed = tables.map((each) =>
        each.table === 'tally' ? { ...each, digest: 'f'.repeat(64) } : each,
      )
      return { position, tables: changed }
    },
  }
  const { ackedLost, nodes, problems } = await prove(other as unknown as Client)
  expect(ackedLost).toBe(0)
  expect(problems).toEqual(['the rows of tally are not the same on all nodes'])
  expect(nodes[0]?.digest).not.toBe(nodes[1]?.digest)
})

test('a follower that does not answer is no equal', async () => {
  const { follower, prove } = await stage()
  const silent = {
    node: follower.node,
    cluster: follower.cluster,
    read: follower.read.bind(follower),
    digest: () => Promise.reject(new Error('no answer')),
  }
  const { problems } = await prove(silent as unknown as Client)
  expect(problems).toEqual(['b could not be compared: REQUEST_FAILED Error: no answer'])
})
