/**
 * Promotions one after another on simulated disks and networks, with crashes while nodes go back and forward again: every node
 * ends with the leader's log and the leader's data, and nobody ever needs a snapshot.
 */
import { expect, test } from 'vitest'
import { SimulatedCluster, type SimulatedNode } from './support/simulated-cluster.ts'

const SEEDS = 25
const ROUNDS = 5

interface Run {
  undone: number
}

async function run(seed: number, tally: Run): Promise<void> {
  const cluster = new SimulatedCluster(seed)
  const { clock } = cluster
  const random = cluster.random.fork('script')
  const pick = (below: number): number => random.uint32() % below
  const nodes = ['a', 'b', 'c'].map((name) => cluster.node(name))
  let leader = nodes[0] as SimulatedNode
  await cluster.startLeader(leader)
  for (let round = 0; round < ROUNDS; round++) {
    const followers = nodes.filter((node) => node !== leader)
    for (const node of followers) cluster.startFollower(node, leader.name)
    const writes = 3 + pick(20)
    for (let n = 0; n < writes; n++) {
      await clock.complete(cluster.set(leader, `k${pick(8)}`, `${round} ${n} ${'x'.repeat(pick(400))}`))
      if (pick(4) === 0) await clock.advance(pick(30))
      // One that is away stays behind, and may be the next leader.
      const away = followers[pick(2)] as SimulatedNode
      if (away.life !== undefined && pick(12) === 0)
        cluster.crash(away, pick(2) === 0 ? 'process' : 'machine')
      // Durable there; the log is kept, because no slot of a node that is away holds it.
      const durable = (nodes[pick(3)] as SimulatedNode).life
      if (pick(6) === 0 && durable !== undefined) await clock.complete(durable.storage.checkpoint())
    }
    // A crash in the middle of whatever a follower is doing, going back included.
    for (const node of followers) {
      if (node.life === undefined) cluster.startFollower(node, leader.name)
      if (pick(2) > 0) continue
      await clock.advance(pick(15))
      cluster.crash(node, pick(2) === 0 ? 'process' : 'machine')
      cluster.startFollower(node, leader.name)
    }
    if (pick(3) === 0) for (const node of followers) await converge(cluster, leader, node)
    for (const node of nodes) expectNoErrors(node, seed)
    // Mostly the one that lacks most.
    const heirs = nodes
      .filter((node) => knowsEpochOf(leader, node))
      .toSorted((x, y) => x.alive.log.end.lsn - y.alive.log.end.lsn)
    for (const node of nodes)
      if (node.life !== undefined) cluster.crash(node, pick(2) === 0 ? 'process' : 'machine')
    leader = heirs[pick(3) > 0 ? 0 : pick(heirs.length)] as SimulatedNode
    const { log } = await cluster.startLeader(leader)
    for (const node of nodes) if (node.storage.applied.lsn > log.end.lsn) tally.undone++
  }
  const followers = nodes.filter((node) => node !== leader)
  for (const node of followers) cluster.startFollower(node, leader.name)
  await clock.complete(cluster.set(leader, 'last', 'write'))
  for (const node of followers) await converge(cluster, leader, node)
  for (const node of nodes) {
    expectNoErrors(node, seed)
    expect([seed, node.name, node.alive.storage.digest()]).toEqual([
      seed,
      node.name,
      leader.alive.storage.digest(),
    ])
    expect([seed, node.name, node.alive.log.end]).toEqual([seed, node.name, leader.alive.log.end])
  }
}

/** Two epochs of one number would be a fork: only a node that has the newest begins the next one. */
function knowsEpochOf(leader: SimulatedNode, { alive: { log } }: SimulatedNode): boolean {
  const newest = leader.alive.log.history.at(-1)
  const own = log.history.at(-1)
  return own?.number === newest?.number && own !== undefined && log.durable >= own.firstLsn
}

/** Until the follower has the leader's very records, not just as many. */
async function converge(
  cluster: SimulatedCluster,
  leader: SimulatedNode,
  node: SimulatedNode,
): Promise<void> {
  const { end } = leader.alive.log
  await cluster.clock.runUntil(
    () =>
      node.alive.errors.length > 0 ||
      (node.alive.storage.applied.lsn >= end.lsn && node.alive.log.crcAt(end.lsn) === end.crc),
    { withinMs: 60_000, what: `seed ${cluster.seed}: ${node.name} at ${end.lsn}` },
  )
}

function expectNoErrors(node: SimulatedNode, seed: number): void {
  const errors = node.alive.errors.map(({ code, message }) => `${code} ${message}`)
  expect([seed, node.name, errors]).toEqual([seed, node.name, []])
}

test('nodes follow through promotions and crashes without a snapshot', { timeout: 120_000 }, async () => {
  const tally: Run = { undone: 0 }
  for (let seed = 1; seed <= SEEDS; seed++) await run(seed, tally)
  expect(tally.undone).toBeGreaterThan(10)
})
