/**
 * Random faults on a cluster of members: crashes, stops, cuts in one direction, a coordinator that goes away, switchovers; then
 * peace, in which one must lead and have all that was acknowledged.
 */
import { SeededRandom } from '@understudy/testkit'
import type { Rules } from '../../src/index.ts'
import { Breach } from '../simulation/checker.ts'
import { FakeCluster } from './cluster.ts'

export interface ChaosResult {
  readonly seed: number
  readonly acked: number
  /** Epochs beyond the first. */
  readonly failovers: number
  readonly faults: number
  /** Virtual milliseconds until one led after the last fault. */
  readonly peaceMs: number
}

const FAULTS_MS = 15_000

export async function chaos(seed: number): Promise<ChaosResult> {
  const random = new SeededRandom(seed).fork('faults')
  const names = random.chance(0.3) ? ['a', 'b', 'c', 'd', 'e'] : ['a', 'b', 'c']
  const others = names.slice(1)
  const count = random.chance(0.3) ? Math.min(2, others.length) : 1
  // Without acks commits may be lost, and all the same nobody may show anything beside a newer leader.
  const isAsync = random.chance(0.2)
  const rules: Rules = isAsync
    ? { rule: { level: 'local' } }
    : { rule: { level: 'durable', of: { kind: 'any', count, names: others } } }
  // Without a coordinator promises alone keep two leaders apart, and persons promote.
  const manual = !isAsync && random.chance(0.3)
  const cluster = new FakeCluster({ seed, names, rules, manual, restMs: 0, allowAsyncFailover: isAsync })
  await cluster.startAll()
  await cluster.untilWhole()
  const endMs = cluster.clock.monotonic() + FAULTS_MS
  let faults = 0
  while (cluster.clock.monotonic() < endMs) {
    await cluster.clock.advance(random.below(700))
    await fault(cluster, names, random)
    faults++
  }
  await peace(cluster, names)
  const peaceMs = await atPeace(cluster, manual)
  check(cluster, { isAsync, manual })
  const epochs = [...cluster.nodes.values()].map(({ disk }) => disk.log.at(-1)?.epoch ?? 1)
  const failovers = Math.max(...epochs) - 1
  return { seed, acked: cluster.acked.length, failovers, faults, peaceMs }
}

async function fault(cluster: FakeCluster, names: readonly string[], random: SeededRandom): Promise<void> {
  const name = names[random.below(names.length)] as string
  const other = names[random.below(names.length)] as string
  const node = cluster.node(name)
  const { life } = node.machine
  switch (random.below(10)) {
    case 0:
    case 1:
      return life === undefined ? cluster.start(name) : cluster.kill(name)
    case 2:
      if (life === undefined) return cluster.start(name)
      return life.clock.paused ? node.machine.resume() : node.machine.pause()
    case 3:
      if (life?.clock.paused === true) return node.machine.resume()
      return longStop(cluster)
    case 4:
      if (name !== other) cluster.network.cut(name, other)
      return
    case 5:
      return cluster.network.partition(
        [name],
        names.filter((each) => each !== name),
      )
    case 6:
      return cluster.network.healAll()
    case 7:
      if (node.coordinator !== undefined)
        node.coordinator.faults[random.chance(0.5) ? 'refused' : 'silent'] = true
      return
    case 8:
      return mend(cluster)
    default:
      // Whatever comes of it.
      if (node.coordinator === undefined) void node.member?.promote({ timeoutMs: 2000 }).catch(() => {})
      else void node.member?.switchover({ timeoutMs: 2000 }).catch(() => {})
  }
}

/** The leader is stopped for longer than its lease, and goes on. */
async function longStop(cluster: FakeCluster): Promise<void> {
  const [leader] = cluster.leaders
  if (leader === undefined) return
  cluster.node(leader).machine.pause()
  await cluster.clock.advance(3000)
  cluster.node(leader).machine.resume()
}

function mend(cluster: FakeCluster): void {
  for (const { coordinator } of cluster.nodes.values()) {
    if (coordinator === undefined) continue
    coordinator.mend()
    coordinator.faults.refused = false
    coordinator.faults.silent = false
  }
}

async function peace(cluster: FakeCluster, names: readonly string[]): Promise<void> {
  cluster.network.healAll()
  mend(cluster)
  for (const name of names) {
    const { machine } = cluster.node(name)
    if (machine.life === undefined) await cluster.start(name)
    else machine.resume()
  }
}

/** How long it took. Two promotions of one number take a person who keeps one of them: without a coordinator they may stay. */
async function atPeace(cluster: FakeCluster, manual: boolean): Promise<number> {
  try {
    await promoted(cluster)
    const tookMs = await cluster.untilWhole(30_000)
    const { length } = cluster.acked
    await cluster.until('writes go on', () => cluster.acked.length > length + 5)
    return tookMs
  } catch (error) {
    if (manual) return Infinity
    throw new Breach('E7', error instanceof Error ? error.message : String(error))
  }
}

/** Without a coordinator somebody has to ask, until one leads; what two promotions of one number left takes a person who accepts it, and is not asked for here. */
async function promoted(cluster: FakeCluster): Promise<void> {
  for (let tries = 0; tries < 10 && cluster.leaders.length === 0; tries++)
    for (const { member, coordinator } of cluster.nodes.values()) {
      if (coordinator !== undefined || member === undefined || cluster.leaders.length > 0) continue
      const asked = member.promote({ timeoutMs: 3000 }).catch(() => {})
      await cluster.clock.complete(asked, { withinMs: 10_000 })
    }
}

function check(
  cluster: FakeCluster,
  { isAsync, manual }: { readonly isAsync: boolean; readonly manual: boolean },
): void {
  const lost = isAsync || cluster.leaders.length !== 1 ? [] : cluster.lost()
  if (lost.length > 0) throw new Breach('E2', `${lost.length} are lost, the first ${JSON.stringify(lost[0])}`)
  const runs = new Map<number, string>()
  let highest = 0
  for (const { epoch, runId, leader } of cluster.acked) {
    const known = runs.get(epoch) ?? runId
    if (known !== runId) throw new Breach('E1', `two runs acknowledged in the epoch ${epoch}`)
    runs.set(epoch, runId)
    // Without a coordinator nobody gives leases: what followers acknowledged before they promised may be shown late.
    if (epoch < highest && !manual)
      throw new Breach('E4', `${leader} showed something in the epoch ${epoch} after ${highest}`)
    highest = epoch
  }
}
