/**
 * One run of a whole cluster from one seed: chaos, then healing, then everything must be right.
 *
 * Decides: the phases, and what must hold at the end. The real parts: log, replication, bootstrap, protocol, the node's
 * checkpointer. The simulated ones: clock, network, disks, databases.
 */
import { FollowerHost } from './follower.ts'
import { LeaderHost } from './leader.ts'
import { Client } from './clients.ts'
import { InvariantBreach } from './breach.ts'
import { Nemesis } from './nemesis.ts'
import type { Shape } from './shape.ts'
import type { Tally } from './tally.ts'
import { Watch, askAboutReceipts } from './watch.ts'
import { LEADER, World } from './world.ts'

/** Virtual milliseconds from the end of the faults until all nodes must show the same. */
const CONVERGE_MS = 120_000
/** Clients go on for so long after the faults. */
const CALM_MS = 1000

export interface Outcome {
  readonly seed: string
  /** What was broken, if anything. */
  readonly breach: Error | undefined
  readonly tally: Tally
  /** Equal for equal seeds. */
  readonly traceHash: string
  /** The last things that happened. */
  readonly trace: readonly string[]
  readonly virtualMs: number
  readonly faults: number
  readonly acknowledged: number
}

/** Runs one seed. Never rejects for a broken invariant: see `breach`. `shape`: in place of what the seed draws. */
export async function simulate(seed: string | number, shape?: Partial<Shape>): Promise<Outcome> {
  const world = new World(seed, shape)
  const startMs = world.clock.monotonic()
  const leader = new LeaderHost(world, LEADER)
  const names = ['b', 'c', 'd'].slice(0, world.shape.followers)
  const followers = names.map((name) => new FollowerHost(world, name))
  world.acks.members = followers
  leader.start()
  for (const follower of followers) follower.start()
  const nemesis = new Nemesis(world, leader, followers)
  const watch = new Watch(world, leader, followers)
  const clients = Array.from({ length: world.shape.clients }, (_, i) => new Client(world, leader, `k${i}`))
  await runFor(world, world.shape.chaosMs)
  nemesis.heal()
  await runFor(world, CALM_MS)
  for (const client of clients) client.stop()
  leader.keepsFormat = true
  await converge(world, leader, followers)
  world.check(() => watch.look())
  world.check(() => askAboutReceipts(world, leader, followers, 'all'))
  watch.stop()
  for (const host of [leader, ...followers]) world.check(() => expectComplete(world, host))
  world.check(() => world.exposure.expectExact())
  for (const follower of followers) expectEqualPages(world, leader, follower)
  return {
    seed: world.random.seed,
    breach: world.breach,
    tally: world.tally,
    traceHash: world.trace.hash,
    trace: world.trace.lines,
    virtualMs: world.clock.monotonic() - startMs,
    faults: nemesis.count,
    acknowledged: world.ledger.count('acknowledged'),
  }
}

async function runFor(world: World, ms: number): Promise<void> {
  const endMs = world.clock.monotonic() + ms
  while (world.breach === undefined && world.clock.monotonic() < endMs && (await world.clock.step()));
}

async function converge(world: World, leader: LeaderHost, followers: readonly FollowerHost[]): Promise<void> {
  const endMs = world.clock.monotonic() + CONVERGE_MS
  const isConverged = (): boolean => {
    const { leading } = leader
    if (leading === undefined || leading.pipeline.queued > 0) return false
    const { log, storage } = leading.data
    const { end, durable } = log
    const isQuiet = durable === end.lsn && storage.applied.lsn === end.lsn && !storage.ahead
    return isQuiet && followers.every(({ data }) => data?.storage.applied.lsn === end.lsn)
  }
  while (world.breach === undefined && !isConverged()) {
    if (world.clock.monotonic() < endMs && (await world.clock.step())) continue
    const states = followers.map(({ name, phase, data }) => `${name} ${phase} ${data?.storage.applied.lsn}`)
    const { leading } = leader
    world.breach = new InvariantBreach(
      'I12',
      `not converged after ${CONVERGE_MS} ms: leader ${leading === undefined ? 'down' : leading.data.log.end.lsn}, ${states.join(', ')}`,
    )
  }
}

/** Pages of a physical storage are the leader's, the one with the stored position among them. */
function expectEqualPages(world: World, leader: LeaderHost, { name, data }: FollowerHost): void {
  const of = leader.data?.storage
  if (of === undefined || data === undefined || !of.physical) return
  const own = JSON.stringify(data.storage.connection.committedNote)
  const leaders = JSON.stringify(of.connection.committedNote)
  if (own !== leaders) world.broken('I5', `${name} stores the position ${own}, its leader ${leaders}`)
}

function expectComplete(world: World, host: LeaderHost | FollowerHost): void {
  const { data, name } = host
  if (data === undefined) return world.broken('I12', `${name} is down at the end`)
  const { log, storage } = data
  world.history.expectWhole(name, log)
  world.history.compare(name, log, log.first)
  world.history.expectState(name, storage)
  world.exposure.expectSame(name, log)
  world.ledger.expectAcknowledged(name, (key) => storage.get(key))
  if (storage.ahead) world.broken('I5', `${name} is ahead of its position at the end`)
  if (log.end.lsn !== world.history.end)
    world.broken('I3', `${name} ends at ${log.end.lsn}, not ${world.history.end}`)
  if (host.disk.paths.filter((path) => path.endsWith('.log') || path.includes('/log/')).length > 4)
    world.tally.add('log spread over segments')
}
