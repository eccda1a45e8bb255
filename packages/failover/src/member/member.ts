/**
 * A node as a member of its cluster: the driver of detection, election, promotion and fencing.
 *
 * Decides: when this node tells the others how it is, when it looks at what to do, when it gives up leading, whom it follows. Leaves to
 * others: the decisions (decide, confirm, mayLead, Voter, Promotion), what the node does for them (Host).
 *
 * Validity conditions:
 * 1. A status is heard as a heartbeat of a leader only once it is durable that nothing lower is followed.
 * 2. Whatever binds this node to another epoch ends its own reign first, in the same turn.
 * 3. What the host is asked to do is done one after another; only ending a reign does not wait for its turn.
 */
import type { UnderstudyError } from '@understudy/contracts'
import { UnderstudyError as Failure } from '@understudy/contracts'
import { keepLeases, type LeaseKeeper } from '@understudy/coordination'
import type { Connection, Hello } from '@understudy/protocol'
import type { Decision } from '../decide/decision.ts'
import type { Intent, MemberReport, Promised } from '../decide/observations.ts'
import { FailureDetector } from '../detector/detector.ts'
import { Promotion, type PromotionEvent } from '../promotion/promotion.ts'
import { supersedes } from '../promotion/voter.ts'
import { Ballot, reasonOf } from './ballot.ts'
import { Beginning } from './beginning.ts'
import { Company } from './company.ts'
import { DecisionFile } from './decision-file.ts'
import type { MemberParts } from './cluster-member.ts'
import { fenceOf } from './fence.ts'
import type { Fence, Host, LeaderPlace } from './host.ts'
import { Links } from './links.ts'
import type { FailoverSettings } from './options.ts'
import { carryOut } from './promoting.ts'
import { publish, type Change } from './publishing.ts'
import type { Reign } from './reign.ts'
import { Sight } from './sight.ts'
import { Standing } from './standing.ts'
import type { HandOver, NotDone, Status, Word } from './words.ts'

/** Epochs of its history that a member tells the others. */
const EPOCHS_TOLD = 64
export class Member {
  readonly settings: FailoverSettings
  readonly parts: MemberParts
  readonly detector: FailureDetector
  readonly sight: Sight
  readonly ballot: Ballot
  readonly links: Links
  readonly decisions: DecisionFile
  readonly standing: Standing = new Standing(this)
  readonly fence: Fence = fenceOf(this)
  promotion: Promotion
  host: Host | undefined
  keeper: LeaseKeeper | undefined
  reign: Reign | undefined
  /** Whom it follows. */
  following: LeaderPlace | undefined
  decision: Decision | undefined
  intent: Intent = { kind: 'automatic' }
  #intentUntilMs = -Infinity
  #beginning: Beginning | undefined
  #toldAtMs = -Infinity
  #lastView = ''
  #queue: Promise<unknown> = Promise.resolve()
  #isClosed = false
  #published: Promise<void> = Promise.resolve()
  #isProbing = false
  readonly #company: Company = new Company(this)
  /** What this node was last promoted by. */
  promotedBy: Decision | undefined
  readonly #watchers = new Set<() => void>()

  constructor(settings: FailoverSettings, parts: MemberParts) {
    this.settings = settings
    this.parts = parts
    const { clock, heartbeatMs, leaseMs, self, coordinator } = settings
    this.detector = new FailureDetector({ intervalMs: heartbeatMs })
    this.ballot = new Ballot({
      files: parts.files,
      directory: parts.directory,
      startedAtMs: clock.monotonic(),
      grantMsMax: coordinator === undefined ? 0 : leaseMs,
      bound: (promised) => this.#bound(promised),
    })
    this.decisions = new DecisionFile(parts.files, parts.directory)
    this.promotion = new Promotion({
      self,
      answerMsMax: Math.max(500, 5 * heartbeatMs),
      runId: parts.runId,
      fraction: () => parts.random.uint32() / 2 ** 32,
    })
    this.sight = new Sight(settings, this.detector, () => this.#sightChanged())
    this.links = new Links({
      self,
      cluster: () => this.host?.cluster ?? '',
      peers: settings.members.filter(({ name }) => name !== self),
      dial: parts.dial,
      clock,
      random: parts.random,
      silentMs: 10 * heartbeatMs,
      dialMs: Math.max(1000, 10 * heartbeatMs),
      heard: (from, word) => this.#heard(from, word),
      lost: (name, how, error) => this.#lost(name, how, error),
    })
  }

  async open(): Promise<void> {
    const { coordinator, leaseMs, stallMs, clock } = this.settings
    if (coordinator !== undefined)
      this.keeper = await keepLeases({ coordinator, ttlMs: leaseMs, stallMs, clock })
  }

  start(host: Host, founds: boolean): void {
    this.host = host
    this.#beginning = new Beginning(this, founds)
    this.#schedule()
  }

  accept(connection: Connection, hello: Hello): void {
    this.links.accept(connection, hello)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const { reign } = this
    this.reign = undefined
    this.links.close()
    this.sight.close()
    await reign?.lease?.release({ timeoutMs: 1000 }).catch(() => {})
    await this.keeper?.close()
    await this.settings.coordinator?.close()
    for (const watcher of this.#watchers) watcher()
  }

  get now(): number {
    return this.settings.clock.monotonic()
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  get others(): string[] {
    return this.settings.members.flatMap(({ name }) => (name === this.settings.self ? [] : [name]))
  }

  /** Who leads, as far as this node knows, and where. */
  leaderPlace(): LeaderPlace | undefined {
    const { self } = this.settings
    if (this.reign?.isOpen !== true) return this.following
    const { epoch, runId } = this.reign.promise
    return { name: self, epoch, runId, address: this.addressOf(self) ?? '' }
  }

  /** Whether it leads right now, by its own word. */
  isLed({ name, runId }: LeaderPlace): boolean {
    if (name === this.settings.self) return this.reign?.promise.runId === runId
    return this.sight.said(name)?.leads?.runId === runId
  }

  addressOf(name: string): string | undefined {
    return this.settings.members.find((member) => member.name === name)?.address
  }

  /** Called after each change that somebody may wait for; returns how to end that. */
  watch(changed: () => void): () => void {
    this.#watchers.add(changed)
    return () => this.#watchers.delete(changed)
  }

  // What it says of itself

  report(): MemberReport {
    const said = (this.host as Host).report()
    const { promised } = this.ballot
    return {
      ...said,
      history: said.history.slice(-EPOCHS_TOLD),
      // Whoever is promoted gets the ceilings from the coordinator, which had them before they were used.
      idsProven: said.idsProven || this.settings.coordinator !== undefined,
      ...(promised && { promised }),
    }
  }

  get own(): { readonly report: MemberReport; readonly leads: boolean; readonly intent: Intent } {
    return { report: this.report(), leads: this.reign?.isOpen === true, intent: this.intent }
  }

  status(): Status {
    const { own, reign } = this
    const { name } = this.sight.leader(own)
    return {
      kind: 'status',
      report: own.report,
      view: this.sight.view(own),
      ...(name !== undefined && { leader: name }),
      ...(reign?.isOpen === true && { leads: reign.promise }),
    }
  }

  /** Tells all others how this node is. */
  tell(): void {
    if (this.host === undefined || this.#isClosed) return
    this.#toldAtMs = this.now
    const status = this.status()
    this.#lastView = viewText(status)
    this.links.tell(status)
  }

  // What drives it

  #schedule(): void {
    this.settings.clock.schedule(this.settings.heartbeatMs / 2, () => {
      if (this.#isClosed) return
      this.#tick()
      this.#schedule()
    })
  }

  #tick(): void {
    const nowMs = this.now
    this.detector.tick(nowMs)
    this.links.look()
    if (nowMs > this.#intentUntilMs) this.intent = { kind: 'automatic' }
    this.standing.look()
    if (this.reign?.isOpen === true) this.#rule(this.reign)
    this.#beginning?.look()
    if (nowMs - this.#toldAtMs >= this.settings.heartbeatMs - 1) this.tell()
    this.observe()
    for (const watcher of this.#watchers) watcher()
  }

  /** The coordinator said something, or a view changed: nothing waits for the next tick. */
  #sightChanged(): void {
    if (this.host === undefined || this.#isClosed) return
    this.#expectLeader()
    this.observe()
  }

  /** Looks at what there is to do. */
  observe(): void {
    if (this.host === undefined || this.#isClosed) return
    if (this.reign?.isOpen === true || this.promotion.phase === 'leading') return
    const { own } = this
    this.#expectLeader(own)
    const view = this.sight.view(own)
    if (viewText({ view, leader: this.sight.leader(own).name }) !== this.#lastView) this.tell()
    if (this.#waitsForOthers(own)) return
    // One that hears the leader itself has nothing to decide.
    if (this.promotion.phase === 'idle' && own.intent.kind === 'automatic' && view.hears) {
      this.sight.alive()
      this.decision = undefined
      return
    }
    this.step({ kind: 'observed', observations: this.sight.observations(own) })
  }

  /** The leader of the last epoch, whom too many have left: they may be choosing another one. */
  #waitsForOthers(own: Member['own']): boolean {
    const { coordinator, self } = this.settings
    if (coordinator === undefined || this.promotion.phase !== 'idle' || own.intent.kind !== 'automatic')
      return false
    return this.sight.leader(own).name === self && this.#company.left().length > 0
  }

  step(event: PromotionEvent): void {
    carryOut(this, this.promotion.step(event, this.now))
  }

  /** One after another. Rejects as `work` does. */
  onHost<T>(work: (host: Host) => Promise<T>): Promise<T> {
    const done = this.#queue.then(() => work(this.host as Host))
    this.#queue = done.catch(() => {})
    return done
  }

  // Leading

  #rule(reign: Reign): void {
    const { lease } = reign
    const { leaseMs } = this.settings
    // The node stopped by itself: its disk failed, or it was told no once.
    if (this.host?.report().state !== 'leading')
      return this.stepDown(this.fenced('it could not go on by itself'))
    const leadership = reign.leadership()
    if (!leadership.may) return this.stepDown(this.fenced(leadership.reason))
    if (lease === undefined) return
    const left = this.#company.leftFor(leaseMs)
    if (left !== undefined) return this.stepDown(this.fenced(left))
    // It was led by the word of the followers; now that the coordinator is back, a new lease takes a new epoch.
    if (!lease.isValid()) this.#probe(reign)
    if (lease.validForMs() < leaseMs / 2)
      this.links.tell({ kind: 'follow?', leads: reign.promise, askedAtMs: this.now, forMs: leaseMs })
  }

  /** Without a lease: whether the coordinator is there again. A watch tells of changes alone. */
  #probe(reign: Reign): void {
    const { coordinator, leaseMs } = this.settings
    if (coordinator === undefined || this.#isProbing) return
    this.#isProbing = true
    coordinator
      .observe({ timeoutMs: leaseMs })
      .then(
        () => {
          if (this.reign !== reign) return
          this.stepDown(this.fenced('its lease was lost while the coordinator was away'))
        },
        () => {},
      )
      .finally(() => {
        this.#isProbing = false
      })
  }

  /** Stops leading at once; whoever leads next is followed when it shows itself. */
  stepDown(error: UnderstudyError): void {
    const { reign } = this
    if (reign === undefined) return
    this.reign = undefined
    this.host?.stopLeading(error)
    reign.end()
    this.parts.emit({ kind: 'steppedDown', error })
    this.step({ kind: 'superseded', epoch: Infinity })
    this.leaveOffice()
    this.tell()
  }

  /** The node is a follower of nobody until somebody leads. */
  leaveOffice(): void {
    this.following = undefined
    this.onHost((host) => host.follow(undefined)).catch((error: unknown) => this.trouble(error))
  }

  /** Why it stops. */
  fenced(why: string): UnderstudyError {
    return new Failure(
      'NOT_LEADER',
      `Node ${this.settings.self} stopped leading: ${why}. What was acknowledged is kept; write to the leader of now.`,
    )
  }

  trouble(error: unknown): void {
    if (this.#isClosed) return
    this.parts.emit({
      kind: 'trouble',
      error: new Failure(
        'REQUEST_FAILED',
        `A step of the failover failed: ${reasonOf(error)}. It is tried again.`,
        {
          cause: error,
        },
      ),
    })
  }

  /** One publication after another: see `publishing`. */
  publish(change: Change): Promise<void> {
    const done = this.#published.then(() => publish(this, change))
    this.#published = done.catch(() => {})
    return done
  }

  // What others say

  #heard(from: string, word: Word): void {
    if (this.host === undefined || this.#isClosed) return
    switch (word.kind) {
      case 'status':
        return this.#heardStatus(from, word)
      case 'stop':
        return this.standing.stop(from)
      case 'resume':
        return this.standing.resume(from)
      case 'ask':
        return this.standing.asked(from, word.promise, word.isPlanned)
      case 'refused': {
        const { reason, runId } = word
        this.step({ kind: 'refused', name: from, reason, ...(runId !== undefined && { runId }) })
        return this.observe()
      }
      case 'follow?': {
        const { leads, askedAtMs, forMs } = word
        const granted = this.ballot.grant(
          leads,
          forMs,
          this.now,
          this.detector.suspicion(from, this.now).state === 'alive',
        )
        this.links.send(from, { kind: 'grant', runId: leads.runId, askedAtMs, forMs: granted })
        return
      }
      case 'grant':
        if (this.reign?.promise.runId === word.runId)
          this.reign.granted({ from, askedAtMs: word.askedAtMs, forMs: word.forMs })
        return
      case 'wish':
        if (word.epoch >= this.sight.leader(this.own).epoch) this.wish(word.intent, word.forMs)
        return this.observe()
      case 'handOver':
      case 'notDone':
        for (const handler of this.wishHandlers) handler(from, word)
    }
  }

  readonly wishHandlers: Set<(from: string, word: HandOver | NotDone) => void> = new Set()

  #heardStatus(from: string, status: Status): void {
    this.sight.heard(from, status)
    const { reign } = this
    const { promised } = status.report
    if (reign !== undefined && promised !== undefined && supersedes(promised, reign.promise))
      this.stepDown(this.fenced(`${from} promised the epoch ${promised.epoch} to ${promised.candidate}`))
    if (status.leads === undefined) this.detectPeer(from)
    else this.#leads(from, status.leads)
    this.#expectLeader()
    if (this.promotion.phase !== 'idle' || this.intent.kind !== 'automatic') this.observe()
  }

  /** It lives, whatever it is. */
  detectPeer(from: string): void {
    // One that does not lead any more is no leader that is heard.
    if (this.sight.leader(this.own).name !== from) this.detector.heartbeat(from, this.now)
  }

  /** Somebody leads. */
  #leads(from: string, leads: Promised): void {
    const { reign } = this
    if (reign !== undefined && leads.epoch > reign.promise.epoch)
      this.stepDown(this.fenced(`${from} leads the epoch ${leads.epoch}`))
    const vote = this.ballot.follow(leads)
    if (!vote.granted) return
    this.#expectLeader()
    this.detector.heartbeat(from, this.now)
    if (this.reign !== undefined || this.promotion.phase !== 'idle') return
    const address = this.addressOf(from)
    if (this.following?.runId === leads.runId || address === undefined) return
    this.standing.forget()
    const place = { name: from, epoch: leads.epoch, runId: leads.runId, address }
    this.following = place
    this.parts.emit({ kind: 'follows', leader: place })
    this.onHost((host) => (this.following === place ? host.follow(place) : Promise.resolve())).catch(
      (error: unknown) => {
        // Tried again with its next word.
        if (this.following === place) this.following = undefined
        this.trouble(error)
      },
    )
  }

  #lost(
    name: string,
    how: 'connection-lost' | 'connection-refused',
    error: UnderstudyError | undefined,
  ): void {
    if (this.#isClosed) return
    if (how === 'connection-refused') {
      this.detector.connectionRefused(name, this.now)
      this.sight.forget(name)
    } else this.detector.connectionLost(name, this.now)
    if (error !== undefined && !QUIET.has(error.code)) this.parts.emit({ kind: 'trouble', error })
    if (this.host !== undefined) this.observe()
  }

  /** A promise was asked of this node: from here on it is bound. */
  #bound(promised: Promised): void {
    const { reign } = this
    if (reign !== undefined && supersedes(promised, reign.promise))
      this.stepDown(this.fenced(`the epoch ${promised.epoch} was promised to ${promised.candidate}`))
    this.step({ kind: 'superseded', epoch: promised.epoch })
  }

  // Wishes

  wish(intent: Intent, forMs: number): void {
    this.intent = intent
    this.#intentUntilMs = this.now + forMs
  }

  /** A leader that is new ends what a person wished about the one before. */
  #expectLeader(own: Member['own'] = this.own): void {
    const { name, epoch } = this.sight.leader(own)
    if (name === undefined || !this.sight.expect(name, epoch)) return
    this.intent = { kind: 'automatic' }
    this.decision = undefined
    this.parts.emit({ kind: 'leader', name, epoch })
  }
}

/** Errors of connections that only say that a peer is away. */
const QUIET: ReadonlySet<string> = new Set([
  'CONNECT_FAILED',
  'CONNECTION_LOST',
  'PEER_SILENT',
  'TIMEOUT',
  'ABORTED',
  'CLOSED',
])

function viewText({ view, leader }: Pick<Status, 'view'> & { readonly leader?: string | undefined }): string {
  return `${leader ?? ''} ${view.hears} ${view.isCertain}`
}
