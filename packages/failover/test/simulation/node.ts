/**
 * A node of the model: a log, a promise and a role around the machines under test, as a driver would hold them.
 *
 * Durable: the log, the promise. Everything else is gone with the process. While paused it does nothing, and what arrives
 * waits; time goes on.
 */
import {
  confirm,
  FailureDetector,
  Promotion,
  rulesAfter,
  supersedes,
  Voter,
  type Decision,
  type FollowGrant,
  type Intent,
  type LeaderView,
  type Member,
  type MemberReport,
  type Observations,
  type Promised,
  type PromotionEvent,
  type Rule,
  type Rules,
} from '../../src/index.ts'
import { append, pointOf, type Entry, type Log } from './log.ts'
import { GRANT_MS, MARGIN_MS, TTL_MS, type Held, type ModelCoordinator } from './coordinator.ts'
import type { Checker } from './checker.ts'
import { lead, stepDown } from './leading.ts'
import { accept, carryOut, resumeReceiving } from './promoting.ts'
import type { World } from './world.ts'

export const TICK_MS = 50
const VIEW_MS_MAX = 250

export interface Setup {
  readonly world: World
  readonly names: readonly string[]
  readonly hasCoordinator: boolean
  readonly coordinator: ModelCoordinator
  readonly checker: Checker
  readonly nodes: Map<string, ModelNode>
  readonly allowAsyncFailover: boolean
  readonly priorities: ReadonlyMap<string, number>
  readonly neverPromote: ReadonlySet<string>
}

/** What every node tells every other one, each tick. */
export interface Status {
  readonly from: string
  readonly order: number
  readonly report: MemberReport
  readonly view: LeaderView & { readonly leader: string | undefined }
  readonly leads: Promised | undefined
}

export interface Claimed {
  readonly runId: string
  readonly grant: number
  readonly validUntilMs: number
}

export interface Leading {
  readonly epoch: number
  readonly runId: string
  readonly noop: Entry
  grant: number | undefined
  validUntilMs: number
  readonly acks: Map<string, number>
  readonly grants: FollowGrant[]
  pending: Entry | undefined
  change: 'none' | 'publishing' | 'acking' | 'finishing'
}

export class ModelNode {
  readonly name: string
  log: Log
  /** On its disk. */
  promised: Promised | undefined
  isDamaged = false
  isUp = true
  isPaused = false
  intent: Intent = { kind: 'automatic' }
  intentUntilMs = 0
  leading: Leading | undefined
  wantsChange: Rule | undefined
  decision: Decision | undefined
  stopped = false
  stoppedAtMs = 0
  stoppedBy = ''
  life = 0
  order = 0
  inbox: (() => void)[] = []
  voter: Voter
  detector: FailureDetector = new FailureDetector({ intervalMs: TICK_MS, tickMs: TICK_MS })
  promotion: Promotion
  statuses: Map<string, { readonly status: Status; readonly atMs: number }> = new Map<
    string,
    { readonly status: Status; readonly atMs: number }
  >()
  held: Held | undefined
  seen: { readonly beat: number; readonly atMs: number } | undefined
  heldAtMs: number = -Infinity
  confirmedAtMs: number | undefined
  drained = false
  claimed: Claimed | undefined
  expected: string | undefined
  readonly setup: Setup

  constructor(name: string, setup: Setup) {
    this.name = name
    this.setup = setup
    this.voter = this.newVoter()
    this.promotion = this.newPromotion()
    this.schedule()
  }

  // ---- faults ----

  crash(): void {
    this.isUp = false
    this.life++
    this.inbox = []
    this.leading = undefined
    this.drained = false
  }

  restart(): void {
    if (this.isUp) return
    this.isUp = true
    this.isPaused = false
    this.stopped = false
    this.intent = { kind: 'automatic' }
    this.decision = undefined
    this.statuses = new Map()
    this.held = undefined
    this.seen = undefined
    this.confirmedAtMs = undefined
    this.expected = undefined
    this.detector = new FailureDetector({ intervalMs: TICK_MS, tickMs: TICK_MS })
    this.voter = this.newVoter()
    this.promotion = this.newPromotion()
    this.schedule()
  }

  pause(): void {
    this.isPaused = true
  }

  resume(): void {
    if (!this.isPaused) return
    this.isPaused = false
    const { random } = this.setup.world
    const inbox = this.inbox
    this.inbox = []
    // Timers and sockets of a loop that was stopped come in any order.
    if (random.chance(0.5)) random.shuffle(inbox)
    for (const run of inbox) if (this.isUp) run()
  }

  /** Writes nothing any more, and goes on leading. */
  mute(): void {
    this.drained = true
  }

  /** Loses the end of its log, and knows it. */
  damage(entries: number): void {
    for (let left = entries; left > 0 && this.log !== undefined; left--) this.log = this.log.before
    this.isDamaged = true
  }

  // ---- what drives it ----

  schedule(): void {
    const life = this.life
    this.setup.world.after(TICK_MS, () => {
      if (this.life !== life) return
      this.run(() => this.tick())
      this.schedule()
    })
  }

  run(work: () => void): void {
    if (!this.isUp) return
    if (!this.isPaused) work()
    else if (this.inbox.length < 200) this.inbox.push(work)
  }

  /** Sends to a node; it is read there when that one runs, and never by a later life of this or that one. */
  send(to: string, deliver: (node: ModelNode) => void): void {
    const node = this.setup.nodes.get(to)
    if (node === undefined) return
    if (to === this.name) {
      const life = this.life
      this.setup.world.after(0, () => {
        if (life === this.life) this.run(() => deliver(this))
      })
      return
    }
    const life = node.life
    this.setup.world.send(this.name, to, () => {
      if (life === node.life) node.run(() => deliver(node))
    })
  }

  get now(): number {
    return this.setup.world.nowMs
  }

  tick(): void {
    const nowMs = this.now
    this.detector.tick(nowMs)
    if (this.setup.hasCoordinator) this.watch()
    if (nowMs > this.intentUntilMs) this.intent = { kind: 'automatic' }
    if (this.stopped && this.promotion.phase === 'idle' && nowMs - this.stoppedAtMs > 1500)
      resumeReceiving(this, this.stoppedBy)
    if (this.leading !== undefined) lead(this)
    const status = this.status()
    for (const name of this.setup.names) if (name !== this.name) this.send(name, (node) => node.heard(status))
    this.observe()
  }

  // ---- what it sees ----

  watch(): void {
    const { coordinator } = this.setup
    const life = this.life
    const askedAtMs = this.now
    coordinator.observe(this.name, (held) => {
      if (life !== this.life) return
      this.run(() => {
        if (this.held !== undefined && held.revision < this.held.revision) return
        if (held.lease !== undefined && held.lease.beat < (this.seen?.beat ?? 0)) return
        this.held = held
        this.heldAtMs = askedAtMs
        if (held.lease !== undefined && held.lease.beat !== this.seen?.beat)
          this.seen = { beat: held.lease.beat, atMs: this.now }
      })
    })
  }

  get phase(): string {
    return this.promotion.phase
  }

  get leader(): string | undefined {
    const published = this.held?.state?.leader
    if (this.setup.hasCoordinator && published !== undefined) return published
    let newest = this.log?.history.at(-1)
    for (const { status } of this.statuses.values()) {
      const last = status.report.history.at(-1)
      if (last !== undefined && last.number > (newest?.number ?? 0)) newest = last
    }
    return newest?.leader
  }

  report(): MemberReport {
    const { log } = this
    const { promised } = this.voter
    const state = this.leading !== undefined ? 'leading' : 'streaming'
    return {
      end: pointOf(log),
      history: log?.history ?? [],
      appliedLsn: Math.max(0, pointOf(log).lsn - 1),
      state,
      deltaUnverified: false,
      logDamaged: this.isDamaged,
      receiversStopped: this.stopped,
      keptReceived: true,
      ...(promised && { promised }),
      ...(log && { rules: { ...log.acks, mayBeLowered: false } }),
      ...(this.leading && { leaderEnd: pointOf(log) }),
      idsProven: true,
    }
  }

  view(): Status['view'] {
    const { leader } = this
    const nowMs = this.now
    const stalled = this.detector.stalled(nowMs)
    if (leader === undefined || leader === this.name) {
      const hears = leader !== undefined && this.leading !== undefined
      return {
        from: this.name,
        leader,
        hears,
        silentMs: 0,
        by: 'heartbeat',
        isCertain: false,
        stalled,
        ageMs: 0,
      }
    }
    this.expectLeader(leader, nowMs)
    const seen = this.detector.suspicion(leader, nowMs)
    return {
      from: this.name,
      leader,
      hears: seen.state === 'alive',
      silentMs: seen.silentMs,
      by: seen.cause ?? 'heartbeat',
      isCertain: seen.state === 'unreachable',
      stalled,
      ageMs: 0,
    }
  }

  /** A leader that is new has not been silent yet, and whatever a person asked about the one before is done. */
  expectLeader(leader: string, nowMs: number): void {
    const epoch = Math.max(this.held?.state?.epoch ?? 0, this.log?.history.at(-1)?.number ?? 0)
    const current = `${leader}/${epoch}`
    if (current === this.expected) return
    if (this.expected !== undefined) this.intent = { kind: 'automatic' }
    this.expected = current
    this.detector.beginsToLead(leader, nowMs)
  }

  status(): Status {
    const { leading } = this
    return {
      from: this.name,
      order: this.life * 1e6 + this.order++,
      report: this.report(),
      view: this.view(),
      leads: leading && { epoch: leading.epoch, runId: leading.runId, candidate: this.name },
    }
  }

  heard(status: Status): void {
    const known = this.statuses.get(status.from)
    if (known !== undefined && known.status.order > status.order) return
    this.statuses.set(status.from, { status, atMs: this.now })
    const { promised } = status.report
    if (promised !== undefined && this.leading !== undefined && supersedes(promised, this.leading))
      stepDown(this)
    if (status.leads === undefined) return
    if (status.leads.epoch > (this.leading?.epoch ?? Infinity)) stepDown(this)
    const answer = this.voter.follow(status.leads)
    if (answer.kind === 'refused') return
    this.persist(answer, () => this.detector.heartbeat(status.from, this.now))
  }

  /** Writes a promise down, which takes a while and may not survive a crash. */
  persist(answer: ReturnType<Voter['ask']>, done: () => void): void {
    if (answer.kind === 'refused') return
    if (answer.kind === 'granted') return done()
    const life = this.life
    if (this.leading !== undefined && answer.promised.epoch > this.leading.epoch) stepDown(this)
    carryOut(this, this.promotion.step({ kind: 'superseded', epoch: answer.promised.epoch }, this.now))
    this.setup.world.after(this.setup.world.random.fraction() * 3, () => {
      if (life !== this.life) return
      if ((this.promised?.epoch ?? 0) < answer.promised.epoch) this.promised = answer.promised
      this.run(() => {
        this.voter.persisted(answer.promised)
        done()
      })
    })
  }

  observations(): Observations {
    const nowMs = this.now
    const { names, hasCoordinator, priorities, neverPromote, allowAsyncFailover } = this.setup
    const { leader } = this
    const own = this.view()
    const views: LeaderView[] = [own]
    const members: Member[] = []
    for (const name of names) {
      const known = name === this.name ? undefined : this.statuses.get(name)
      const ageMs = known === undefined ? Infinity : nowMs - known.atMs
      if (known !== undefined && known.status.view.leader === leader)
        views.push({ ...known.status.view, ageMs })
      const report =
        name === this.name ? this.report() : ageMs <= VIEW_MS_MAX ? known?.status.report : undefined
      members.push({
        name,
        priority: priorities.get(name) ?? 0,
        neverPromote: neverPromote.has(name),
        ...(report && { report }),
      })
    }
    const isReached = this.held !== undefined && nowMs - this.heldAtMs < 300
    const lease = this.held?.lease
    const freeAtMs = lease === undefined || lease.released ? nowMs : (this.seen?.atMs ?? nowMs) + TTL_MS
    const verdict = confirm({
      nowMs,
      leader: leader ?? '',
      members: names,
      views,
      quorum: 'majority',
      viewMsMax: VIEW_MS_MAX,
      ...(lease && { leaseFreeAtMs: freeAtMs }),
    })
    if (verdict.verdict !== 'dead') this.confirmedAtMs = undefined
    else this.confirmedAtMs ??= nowMs
    const state = this.held?.state
    return {
      nowMs,
      self: this.name,
      ...(leader !== undefined && { leader }),
      verdict,
      ...(this.confirmedAtMs !== undefined && { confirmedAtMs: this.confirmedAtMs }),
      members,
      coordinator: !hasCoordinator
        ? { kind: 'manual' }
        : !isReached
          ? { kind: 'unreachable', sinceMs: this.heldAtMs }
          : {
              kind: 'reachable',
              revision: String(this.held?.revision),
              ...(state && { state: { ...state, paused: false } }),
              ...(lease && { lease: { holder: lease.holder, epoch: lease.epoch, freeAtMs } }),
            },
      intent: this.intent,
      policy: { mode: 'act', paused: false, allowAsyncFailover, turnMs: 600, restMs: 0 },
    }
  }

  observe(): void {
    if (this.promotion.phase === 'leading' || this.leading !== undefined) return
    const isQuiet = this.promotion.phase === 'idle' && this.intent.kind === 'automatic'
    // One that hears the leader itself has nothing to decide.
    if (isQuiet && this.view().hears) {
      this.confirmedAtMs = undefined
      return
    }
    const observations = this.observations()
    this.step({ kind: 'observed', observations })
  }

  step(event: PromotionEvent): void {
    carryOut(this, this.promotion.step(event, this.now))
  }

  later(work: () => void): void {
    const life = this.life
    this.setup.world.after(this.setup.world.random.fraction() * 4, () => {
      if (life === this.life) this.run(work)
    })
  }

  append(kind: Entry['kind'], epoch: number, runId: string, acks: Rules): Entry {
    const crc = this.setup.world.random.uint32()
    return append(this.log, { epoch, runId, kind, acks, leader: this.name, crc })
  }

  newVoter(): Voter {
    const { hasCoordinator, world } = this.setup
    const { promised } = this
    return new Voter({
      ...(promised && { promised }),
      startedAtMs: this.life === 0 ? -GRANT_MS : world.nowMs,
      grantMsMax: hasCoordinator ? GRANT_MS : 0,
    })
  }

  newPromotion(): Promotion {
    const { random } = this.setup.world
    return new Promotion({
      self: this.name,
      answerMsMax: 120,
      attemptMsMax: 2000,
      runId: () => random.uint32().toString(16).padStart(16, '0'),
      fraction: () => random.fraction(),
    })
  }

  /** Begins the history: the first leader of all. */
  found(rule: Rule): void {
    const runId = this.setup.world.random.uint32().toString(16).padStart(16, '0')
    const acks = rulesAfter({ rule }, this.name, undefined)
    this.promised = { epoch: 1, runId, candidate: this.name }
    this.voter = this.newVoter()
    const { coordinator, hasCoordinator } = this.setup
    if (hasCoordinator) {
      const lease = { grant: 0, beat: 0, holder: this.name, epoch: 1, released: false }
      coordinator.held = { revision: 0, state: { epoch: 1, runId, leader: this.name, acks }, lease }
      this.claimed = { runId, grant: 0, validUntilMs: TTL_MS - MARGIN_MS }
    }
    this.log = this.append('noop', 1, runId, acks)
    const from = pointOf(undefined)
    const promotion = {
      kind: 'promote',
      name: this.name,
      epoch: 1,
      runId,
      from,
      backlog: 0,
      acks,
      raiseIds: false,
    } as const
    accept(this, promotion, hasCoordinator ? TTL_MS - MARGIN_MS : Infinity)
    this.setup.checker.failovers--
  }
}
