/** One run of the model: faults from a seed, then peace, then what must hold. */
import { SeededRandom } from '@understudy/testkit/random'
import { decide, forecast, ruleText, type Rule } from '../../src/index.ts'
import { Breach, Checker } from './checker.ts'
import { ModelCoordinator } from './coordinator.ts'
import { holds, pointOf, type Log } from './log.ts'
import { ModelNode, type Setup } from './node.ts'
import { World } from './world.ts'

export interface RunResult {
  readonly failovers: number
  readonly acked: number
  readonly losses: number
  readonly refusals: number
  readonly forecasts: number
  /** What happened, by kind: a run that never meets a fault proves nothing about it. */
  readonly happened: Readonly<Record<string, number>>
}

/** What a run is about; by default the seed draws it. */
export interface Profile {
  readonly hasCoordinator?: boolean
  readonly isAsync?: boolean
  /** A person promotes without looking whether anybody leads. */
  readonly haste?: boolean
  /** Nothing is asked of the peace afterwards: for broken builds, whose harm is looked for and not their standing still. */
  readonly isSafetyOnly?: boolean
}

export interface RunOptions {
  readonly profile?: Profile
  readonly faultsMs?: number
  readonly trace?: (line: string) => void
}

const ESTIMATES = { detectMs: 600, leaseMs: 400, stepMs: 10, fetchedPerSecond: 1e5, appliedPerSecond: 1e5 }

export function simulate(seed: string | number, options: RunOptions = {}): RunResult {
  const cluster = new Cluster(new SeededRandom(seed), options)
  cluster.trouble(options.faultsMs ?? 5000)
  if (cluster.peace() && options.profile?.isSafetyOnly !== true) cluster.lastDeath()
  const { checker } = cluster
  const happened = { ...cluster.happened, ...checker.met }
  return {
    failovers: checker.failovers,
    acked: checker.ackedCount(),
    losses: checker.losses,
    refusals: checker.refusals,
    forecasts: cluster.happened['forecast'] ?? 0,
    happened,
  }
}

class Cluster {
  readonly checker: Checker
  readonly happened: Record<string, number> = {}
  readonly #world: World
  readonly #random: SeededRandom
  readonly #setup: Setup
  readonly #nodes: ModelNode[]
  readonly #trace: (line: string) => void
  readonly #profile: Profile
  #isDamageDone = false

  constructor(random: SeededRandom, { trace = () => undefined, profile = {} }: RunOptions) {
    this.#profile = profile
    this.#random = random.fork('plan')
    this.#trace = trace
    this.#world = new World(random.fork('world'))
    const names = ['a', 'b', 'c', 'd', 'e'].slice(0, this.#random.between(3, 5))
    const drawn = this.#random.chance(0.8)
    const hasCoordinator = profile.hasCoordinator ?? drawn
    this.checker = new Checker(hasCoordinator)
    const spare = names.slice(3)
    this.#setup = {
      world: this.#world,
      names,
      hasCoordinator,
      coordinator: new ModelCoordinator(this.#world),
      checker: this.checker,
      nodes: new Map(),
      allowAsyncFailover: this.#random.chance(0.7),
      priorities: new Map(names.map((name) => [name, this.#random.below(3)])),
      neverPromote: new Set(spare.filter(() => this.#random.chance(0.3))),
    }
    this.#nodes = names.map((name) => new ModelNode(name, this.#setup))
    for (const node of this.#nodes) this.#setup.nodes.set(node.name, node)
    const rule = this.#rule('a')
    this.#trace(`${names.join('')} ${hasCoordinator ? 'with a coordinator' : 'manual'} ${ruleText(rule)}`)
    this.#nodes[0]?.found(rule)
    this.#world.run(300)
  }

  /** Faults, one after the other, often several at once. */
  trouble(forMs: number): void {
    const endMs = this.#world.nowMs + forMs
    while (this.#world.nowMs < endMs) {
      this.#world.run(this.#world.nowMs + this.#random.between(20, 500))
      this.#fault()
      if (!this.#setup.hasCoordinator) this.#operator(this.#random.chance(0.1))
    }
  }

  /** Everything works again; one node leads before long, and the rest follows it. */
  peace(): boolean {
    this.#heal()
    const beganMs = this.#world.nowMs
    for (;;) {
      this.#world.run(this.#world.nowMs + 200)
      if (this.#isHealthy()) return true
      const forMs = this.#world.nowMs - beganMs
      // A disk that lost what nobody else had to have, or a history that was dropped: no proof is left, only a person can go on.
      const isHopeless =
        forMs > 8000 &&
        (this.#nodes.some((node) => node.isDamaged) || this.happened['fork dropped'] !== undefined)
      this.#dropFork()
      if (!this.#setup.hasCoordinator || isHopeless) this.#operator(isHopeless)
      // A history was dropped, and the rest may not lead: such a cluster is built anew.
      const isOver = this.#profile.isSafetyOnly === true || this.happened['fork dropped'] !== undefined
      if (forMs > 20_000 && isOver) return false
      if (forMs > 20_000) throw new Breach('E7', this.#nodes.map((node) => this.#stateOf(node)).join('; '))
    }
  }

  /** The leader dies for good in a quiet cluster: what was forecast is what happens. */
  lastDeath(): void {
    const leader = this.#leader() as ModelNode
    const observer = this.#nodes.find((node) => node !== leader) as ModelNode
    this.#world.delayMsMax = 1
    this.#world.run(this.#world.nowMs + 300)
    leader.mute()
    this.#setup.coordinator.lostAnswers = 0
    this.#world.run(this.#world.nowMs + 300)
    // A set that still changes, or a leader that was just replaced, is no quiet cluster.
    const { leading } = leader
    if (
      leading === undefined ||
      leading.change !== 'none' ||
      leading.pending !== undefined ||
      !this.#isHealthy()
    )
      return
    const promised = forecast(observer.observations(), ESTIMATES)
    const before = this.checker.failovers
    const last = this.checker.lastAcked()
    leader.crash()
    this.#count('forecast')
    this.#trace(`${leader.name} dies; forecast: ${promised.summary}`)
    for (let round = 0; round < 40 && this.checker.failovers === before; round++) {
      this.#world.run(this.#world.nowMs + 100)
      if (!this.#setup.hasCoordinator) this.#operator(false)
    }
    const next = this.#leader()
    const told = `${promised.summary} Then ${next?.name ?? 'nobody'} leads.`
    if ((promised.outcome === 'promote' ? promised.name : undefined) !== next?.name)
      throw new Breach('E5', told)
    if (next === undefined || last === undefined) return
    const isLost = !holds(next.log, last)
    if (isLost && promised.mayLose === undefined) throw new Breach('E5', `${told} A commit is lost.`)
    if (isLost) this.#count('forecast of a loss')
  }

  #fault(): void {
    const random = this.#random
    const node = random.chance(0.5) ? (this.#leader() ?? random.pick(this.#nodes)) : random.pick(this.#nodes)
    const other = random.pick(this.#nodes)
    const { cut } = this.#world
    const kind = random.pick(FAULTS)
    switch (kind) {
      case 'crash':
        node.crash()
        break
      case 'restart':
        for (const each of this.#nodes) if (random.chance(0.7)) each.restart()
        break
      case 'pause':
        node.pause()
        this.#world.after(random.between(50, 1500), () => node.resume())
        break
      case 'cut one way':
        cut.add(`${node.name}>${other.name}`)
        break
      case 'isolate':
        for (const { name } of this.#nodes) cut.add(`${node.name}>${name}`).add(`${name}>${node.name}`)
        break
      case 'cut from the coordinator':
        cut.add(random.chance(0.5) ? `${node.name}>*` : `*>${node.name}`)
        break
      case 'coordinator away':
        this.#setup.coordinator.isUp = false
        this.#world.after(random.between(100, 2000), () => (this.#setup.coordinator.isUp = true))
        break
      case 'heal':
        if (random.chance(0.5)) this.#heal()
        else cut.clear()
        break
      case 'slow':
        this.#world.delayMsMax = random.pick([2, 5, 40, 120])
        break
      case 'change of the set': {
        const leader = this.#leader()
        if (leader !== undefined) leader.wantsChange = this.#rule(leader.name)
        break
      }
      case 'switchover':
        this.#ask({ kind: 'switchover', ...(random.chance(0.5) && { target: other.name }) })
        break
      case 'damage':
        if (this.#isDamageDone || node.log === undefined) return
        this.#isDamageDone = true
        node.crash()
        node.damage(random.between(1, 4))
    }
    this.#count(kind)
    this.#trace(`${Math.round(this.#world.nowMs)} ${kind} ${node.name} ${other.name}`)
  }

  /** A person, where there is no coordinator: promotes when nobody leads. */
  #operator(acceptLoss: boolean): void {
    if (
      this.#nodes.some((node) => node.isUp && !node.isPaused && node.leading !== undefined) &&
      this.#random.chance(this.#profile.haste === true ? 0.2 : 0.8)
    )
      return
    if (acceptLoss) {
      this.checker.isLossAccepted = true
      this.#count('loss accepted')
    }
    this.#ask({ kind: 'promote', acceptLoss })
  }

  /**
   * Two promotions under one number, which accepting a loss without a coordinator can bring: a person keeps the history that
   * acknowledged commits, and empties the others: they get a copy of it, and say nothing before they have one.
   */
  #dropFork(): void {
    if (this.#setup.hasCoordinator) return
    const { checker } = this
    const worth = ({ log }: ModelNode): number => checker.ackedOn(log) * 1e6 + (log?.lsn ?? 0)
    const kept: ModelNode[] = []
    for (const node of [...this.#nodes].sort((a, b) => worth(b) - worth(a))) {
      const forks = kept.flatMap(({ log }) => forksOf(node.log, log))
      if (forks.length === 0) kept.push(node)
      else {
        this.#count('fork dropped')
        for (const runId of forks) checker.dropRun(runId)
        node.crash()
        node.damage(Infinity)
        node.restart()
      }
    }
  }

  #ask(intent: ModelNode['intent']): void {
    for (const node of this.#nodes) {
      if (!node.isUp) continue
      node.intent = intent
      node.intentUntilMs = this.#world.nowMs + 400
    }
  }

  #heal(): void {
    this.#world.cut.clear()
    this.#world.delayMsMax = 5
    this.#setup.coordinator.isUp = true
    for (const node of this.#nodes) {
      node.restart()
      node.resume()
    }
  }

  #leader(): ModelNode | undefined {
    let newest: ModelNode | undefined
    for (const node of this.#nodes)
      if (node.isUp && (node.leading?.epoch ?? 0) > (newest?.leading?.epoch ?? 0)) newest = node
    return newest
  }

  #isHealthy(): boolean {
    const leading = this.#nodes.filter((node) => node.leading !== undefined)
    const [leader] = leading
    if (leader === undefined || leading.length > 1 || leader.leading === undefined) return false
    const { noop, pending } = leader.leading
    if (pending === noop) return false
    return this.#nodes.every(
      (node) =>
        node.log !== undefined && !node.isDamaged && holds(node.log, noop) && holds(leader.log, node.log),
    )
  }

  #stateOf(node: ModelNode): string {
    const { epoch, lsn } = pointOf(node.log)
    const { leading, promised } = node
    const decision = decide({ ...node.observations(), intent: { kind: 'promote', acceptLoss: false } })
    return `${node.name} ${node.phase} ${node.stopped ? 'stopped' : ''}${node.isUp ? '' : ' down'}${leading ? ` leads ${leading.epoch}` : ''} at ${epoch}/${lsn}, promised ${promised?.epoch ?? 0}, decided ${decision.action.kind} (${decision.reasons.join(', ')})`
  }

  #rule(leader: string): Rule {
    const random = this.#random
    const isAsync = random.chance(0.2)
    if (this.#profile.isAsync ?? isAsync) return { level: 'local' }
    const names = random.shuffle(this.#setup.names.filter((name) => name !== leader))
    const kept = names.slice(0, random.between(1, names.length))
    return {
      level: random.pick(['durable', 'applied']),
      of: { kind: random.pick(['any', 'first']), count: random.between(1, kept.length), names: kept },
    }
  }

  #count(kind: string): void {
    this.happened[kind] = (this.happened[kind] ?? 0) + 1
  }
}

/** Runs of this log that have another run under their number in the other one. */
function forksOf(log: Log, other: Log): string[] {
  const runs = new Map(other?.history.map(({ number, runId }) => [number, runId]))
  return (log?.history ?? []).flatMap(({ number, runId }) =>
    (runs.get(number) ?? runId) === runId ? [] : [runId],
  )
}

export const FAULTS = [
  'crash',
  'crash',
  'restart',
  'restart',
  'pause',
  'pause',
  'cut one way',
  'isolate',
  'cut from the coordinator',
  'coordinator away',
  'heal',
  'slow',
  'change of the set',
  'switchover',
  'damage',
] as const
