/**
 * A leader under full load of 64 callers, with a streaming follower, beside connections that never say who they are:
 * half of them silent, half sending a byte a second. And beside clients that were let in and ask nothing.
 *
 * For each of tcp and ws there are two leaders: one with the default limits of connections, which keeps the attack small by
 * itself, and one with limits that let all connections stay, as long as a node lets strangers stay. The attacker dials
 * again whatever is closed, at most 200 times a second.
 *
 * 1. A round measures the quiet leader and the disturbed one one after another, the next round in the opposite order; ratios are
 *    taken within a round.
 * 2. A measurement begins when as many connections are up as there will be, and ends before they are let go.
 * 3. The attacker shares the processors with leader and follower: what it takes of them is part of the loss, and told.
 */
import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { UnderstudyError } from '@understudy/contracts'
import { Pair } from '../pair.ts'
import { inTurns, Samples } from '../rounds.ts'
import type { ScenarioContext } from '../scenario.ts'
import { median, ratios } from '../statistics.ts'
import type { TransportFigureName } from '../transports/figures.ts'
import type { TransportSettings } from '../transports/options.ts'
import type { TransportScenario } from '../transports/run.ts'
import type { Wire, WireName } from '../wire.ts'
import { besideIdleClients, besideStrangers, quiet, type Loaded } from './hostile-sides.ts'
import { measureStrangerMemory } from './stranger-memory.ts'

const WIRES: readonly WireName[] = ['tcp', 'ws']
const WARM_UP_SECONDS_MAX = 2
/** Each is a new leader. */
const MEMORY_ROUNDS_MAX = 3

/** `default`: limits of connections as a node has them. `all`: limits that let all connections stay. */
export type Limits = 'default' | 'all'
export type Side = 'quiet' | 'hostile' | 'idleClients'

export const hostile: TransportScenario = async (context) => {
  const { settings, reporter } = context
  if (process.platform !== 'linux')
    throw new UnderstudyError(
      'UNSUPPORTED_RUNTIME',
      'Hostile connections come from several loopback addresses, which need no setting up on Linux alone. Nothing was measured; leave the scenario hostile out.',
    )
  const wires = WIRES.filter((wire) => settings.transports.includes(wire))
  const memoryRounds = Math.min(settings.rounds, MEMORY_ROUNDS_MAX)
  reporter.begin('hostile', wires.length * (5 * settings.rounds + memoryRounds))
  const samples = new Samples()
  for (const wire of wires) {
    for (let round = 1; round <= memoryRounds; round++) await measureMemory(wire, round, samples, context)
    for (const limits of ['default', 'all'] as const) await measureVariant(wire, limits, samples, context)
  }
  reporter.end()
  return { figures: hostileFigures(samples, wires), details: { rounds: samples.all() } }
}

/** Connection options of a node that lets all of them stay. */
function wireOf(transport: WireName, limits: Limits, strangers: number): Wire {
  const max = strangers + 100
  return {
    transport,
    secret: randomBytes(32),
    ...(limits === 'all' && { connections: { max, perAddressMax: max, strangersMax: max } }),
  }
}

async function measureMemory(
  transport: WireName,
  round: number,
  samples: Samples,
  { settings, directory, reporter }: ScenarioContext<TransportSettings>,
): Promise<void> {
  const folder = path.join(directory, `${transport}-memory-${round}`)
  await mkdir(folder)
  const { kibibytes, connections } = await measureStrangerMemory(
    folder,
    wireOf(transport, 'all', settings.strangers),
    settings.strangers,
  )
  samples.push(`${transport} memory KiB`, kibibytes)
  samples.push(`${transport} memory connections`, connections)
  reporter.step(
    `round ${round} ${transport}: ${kibibytes.toFixed(1)} KiB for each of ${connections} strangers`,
  )
}

async function measureVariant(
  transport: WireName,
  limits: Limits,
  samples: Samples,
  { settings, directory, reporter }: ScenarioContext<TransportSettings>,
): Promise<void> {
  const { strangers: connections, hostileSeconds: seconds, rounds } = settings
  const folder = path.join(directory, `${transport}-${limits}`)
  await mkdir(folder)
  const wire = wireOf(transport, limits, connections)
  await using pair = await Pair.start(folder, { wire })
  const options = { pair, wire, connections, seconds }
  await quiet({ ...options, seconds: Math.min(seconds, WARM_UP_SECONDS_MAX) })
  const sides: readonly Side[] = limits === 'all' ? ['quiet', 'hostile', 'idleClients'] : ['quiet', 'hostile']
  const measure: Record<Side, () => Promise<Loaded>> = {
    quiet: () => quiet(options),
    hostile: () => besideStrangers(options),
    idleClients: () => besideIdleClients(options),
  }
  await inTurns(rounds, sides, async (side, round) => {
    const measured = await measure[side]()
    for (const [what, value] of Object.entries(measured))
      samples.push(keyOf(transport, limits, side, what as keyof Loaded), value)
    reporter.step(`round ${round} ${transport} ${limits} ${side}: ${describe(measured)}`)
  })
  await pair.verify()
}

function describe({ perSecond, leaderUs, connections, dialsPerSecond, cpuShare }: Loaded): string {
  const beside =
    dialsPerSecond === undefined
      ? ''
      : `, ${Math.round(dialsPerSecond)} dials/s, ${((cpuShare ?? 0) * 100).toFixed(1)} % of a processor for them`
  return `${Math.round(perSecond)} commits/s of ${leaderUs.toFixed(1)} µs, ${Math.round(connections)} connections${beside}`
}

export function keyOf(wire: WireName, limits: Limits, side: Side, what: keyof Loaded): string {
  return `${wire} ${limits} ${side} ${what}`
}

/** Medians over the rounds of the ratio to the quiet leader of the same round. */
export function hostileFigures(
  samples: Samples,
  wires: readonly WireName[],
): Partial<Record<TransportFigureName, number>> {
  const figures: Partial<Record<TransportFigureName, number>> = {}
  for (const wire of wires) {
    const against = (limits: Limits, side: Side): number => {
      const rates = (of: Side): readonly number[] => samples.of(keyOf(wire, limits, of, 'perSecond'))
      return median(ratios(rates(side), rates('quiet')))
    }
    figures[`${wire}HostileVsQuiet`] = against('default', 'hostile')
    figures[`${wire}HostileAllVsQuiet`] = against('all', 'hostile')
    figures[`${wire}IdleClientsVsQuiet`] = against('all', 'idleClients')
    figures[`${wire}StrangerKiB`] = median(samples.of(`${wire} memory KiB`))
  }
  return figures
}
