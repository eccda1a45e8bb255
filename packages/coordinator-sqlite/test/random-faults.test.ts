/**
 * Nodes that keep, lose and take the lease under random faults, from a seed: cuts of every kind, nodes that stand still, clocks that
 * differ in speed by less than the margin allows.
 *
 * 1. At no moment is the lease valid for two nodes.
 * 2. Epochs of leases only grow.
 * 3. When all faults are over somebody has it within two times to live.
 */
import { isUnderstudyError } from '@understudy/contracts'
import { keepLeases, type KeptLease } from '@understudy/coordination'
import { SeededRandom, SimulatedClock, SimulatedCoordinator, type ClockView } from '@understudy/testkit'
import { expect, test } from 'vitest'

const TTL_MS = 1000
const FAULTS = ['refused', 'silent', 'answersLost', 'answersHeld'] as const

interface Outcome {
  readonly leases: number
  /** What was seen to be wrong. */
  readonly problem?: string
}

class Node {
  readonly name: string
  readonly clock: ClockView
  readonly coordinator: ReturnType<SimulatedCoordinator['open']>
  lease: KeptLease | undefined

  constructor(name: string, clock: ClockView, place: SimulatedCoordinator) {
    this.name = name
    this.clock = clock
    this.coordinator = place.open(clock)
  }

  /** Tries again and again, as a candidate would. */
  async live(epochs: number[]): Promise<void> {
    const keeper = await keepLeases({ coordinator: this.coordinator, ttlMs: TTL_MS, clock: this.clock })
    for (;;) {
      await new Promise<void>((resolve) => {
        this.clock.schedule(25, resolve)
      })
      if (this.lease?.isValid() === true) continue
      try {
        const { lease } = await this.coordinator.observe({ timeoutMs: 200 })
        if (lease !== undefined && lease.freeAtMs > this.clock.monotonic()) continue
        const epoch = (lease?.epoch ?? 0) + 1
        this.lease = await keeper.acquire({ holder: this.name, epoch, timeoutMs: 200 })
        epochs.push(epoch)
      } catch (error) {
        if (!isUnderstudyError(error)) throw error
      }
    }
  }
}

/** `rates` of the nodes' clocks. */
async function run(seed: number, rates: readonly number[]): Promise<Outcome> {
  const random = new SeededRandom(seed)
  const clock = new SimulatedClock({ shuffle: random.fork('clock') })
  const place = new SimulatedCoordinator({ clock, random: random.fork('place') })
  const nodes = rates.map((rate, at) => new Node(`n${at}`, clock.view({ rate }), place))
  const epochs: number[] = []
  for (const node of nodes) void node.live(epochs)
  const faults = random.fork('faults')
  const valid = (): Node[] => nodes.filter(({ lease }) => lease?.isValid() === true)
  for (let step = 0; step < 400; step++) {
    if (faults.chance(0.1)) disturb(nodes[faults.below(nodes.length)]!, faults)
    await clock.advance(faults.between(1, 40))
    const holders = valid()
    if (holders.length > 1) return { leases: epochs.length, problem: `seed ${seed}: two at step ${step}` }
  }
  for (const { clock: own, coordinator } of nodes) {
    own.resume()
    coordinator.faults.delayMs = 1
    coordinator.mend()
  }
  await clock.advance(2.5 * TTL_MS)
  const problem = valid().length === 1 ? undefined : `seed ${seed}: nobody has it in the end`
  for (const [at, epoch] of epochs.entries())
    if (at > 0 && epoch <= epochs[at - 1]!)
      return { leases: epochs.length, problem: `seed ${seed}: epoch ${epoch} again` }
  return { leases: epochs.length, ...(problem !== undefined && { problem }) }
}

function disturb(node: Node, random: SeededRandom): void {
  const { clock, coordinator } = node
  if (clock.paused) clock.resume()
  else if (random.chance(0.3)) clock.pause()
  else if (random.chance(0.4)) coordinator.mend()
  else if (random.chance(0.5)) coordinator.faults.delayMs = { min: 1, max: random.between(2, 800) }
  else coordinator.faults[FAULTS[random.below(FAULTS.length)]!] = true
}

test('clocks that differ by less than the margin: never two at once', async () => {
  let leases = 0
  for (let seed = 1; seed <= 250; seed++) {
    const outcome = await run(seed, [0.97, 1, 1.03])
    expect(outcome.problem).toBeUndefined()
    leases += outcome.leases
  }
  // They did change hands.
  expect(leases).toBeGreaterThan(500)
}, 60_000)

test('clocks that differ by more are noticed by this test', async () => {
  const problems: string[] = []
  for (let seed = 1; seed <= 60 && problems.length === 0; seed++) {
    const { problem } = await run(seed, [0.7, 1, 1.3])
    if (problem?.includes('two') === true) problems.push(problem)
  }
  expect(problems).toHaveLength(1)
}, 60_000)
