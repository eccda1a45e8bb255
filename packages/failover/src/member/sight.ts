/**
 * What this node knows of the cluster: what the others said last, what the coordinator holds, whom it hears.
 *
 * Decides: who the leader is taken to be, which report is too old, and puts all of it into the observations of a decision. Leaves to
 * others: deciding, acting, what this node says of itself.
 */
import type { CoordinatorWatch, Observation, UnderstudyError } from '@understudy/contracts'
import { confirm, type LeaderVerdict, type LeaderView } from '../confirm.ts'
import { coordinatorView } from '../decide/coordinator-view.ts'
import type { CoordinatorView, Intent, Member, MemberReport, Observations } from '../decide/observations.ts'
import type { FailureDetector } from '../detector/detector.ts'
import type { FailoverSettings } from './options.ts'
import type { Status } from './words.ts'

/** What this node adds of its own. */
export interface Own {
  readonly report: MemberReport
  readonly leads: boolean
  readonly intent: Intent
}

export class Sight {
  readonly #settings: FailoverSettings
  readonly #detector: FailureDetector
  readonly #said = new Map<string, { readonly status: Status; readonly atMs: number }>()
  readonly #watch: CoordinatorWatch | undefined
  #held: Observation | undefined
  #unreachableSinceMs: number | undefined
  #unreachable: UnderstudyError | undefined
  #confirmedAtMs: number | undefined
  #promotedAtMs: number | undefined
  /** Leader and epoch that are expected to be heard. */
  #expected: string | undefined

  /** `changed`: the coordinator said something. */
  constructor(settings: FailoverSettings, detector: FailureDetector, changed: () => void) {
    this.#settings = settings
    this.#detector = detector
    this.#unreachableSinceMs = settings.clock.monotonic()
    this.#watch = settings.coordinator?.watch({
      observed: (observation) => {
        this.#held = observation
        this.#unreachable = undefined
        this.#unreachableSinceMs = undefined
        changed()
      },
      unreachable: (error) => {
        this.#unreachable = error
        this.#unreachableSinceMs ??= this.#now
        changed()
      },
    })
  }

  close(): void {
    this.#watch?.close()
  }

  /** What the coordinator held last. */
  get held(): Observation | undefined {
    return this.#held
  }

  /** Why the coordinator is not reached, as far as it was said. */
  get unreachable(): UnderstudyError | undefined {
    return this.#unreachable
  }

  get isCoordinatorReached(): boolean {
    return this.#settings.coordinator !== undefined && this.#unreachableSinceMs === undefined
  }

  /** What a change of this node's own brought, before the watch tells. */
  learned(observation: Observation): void {
    this.#held = observation
  }

  heard(from: string, status: Status): void {
    this.#said.set(from, { status, atMs: this.#now })
  }

  /** It says nothing any more: its last word is of the past. */
  forget(name: string): void {
    this.#said.delete(name)
  }

  said(name: string): Status | undefined {
    return this.#said.get(name)?.status
  }

  /** The others that said something lately. */
  statuses(): [string, Status][] {
    return [...this.#said].flatMap(([name, { status, atMs }]) =>
      this.#now - atMs <= this.#viewMsMax ? [[name, status] as [string, Status]] : [],
    )
  }

  /** Whom the cluster has as its leader, and the newest epoch that is known. */
  leader({ report }: Pick<Own, 'report'>): { readonly name: string | undefined; readonly epoch: number } {
    let newest = report.history.at(-1)
    for (const { status } of this.#said.values()) {
      const last = status.report.history.at(-1)
      if (last !== undefined && last.number > (newest?.number ?? 0)) newest = last
    }
    const state = this.#held?.state
    // Whoever begins an epoch published it before: what is published is never older than what is known otherwise, unless it was not seen yet.
    if (state?.leader !== undefined && state.epoch >= (newest?.number ?? 0))
      return { name: state.leader.name, epoch: state.epoch }
    return { name: newest?.leader, epoch: Math.max(newest?.number ?? 0, state?.epoch ?? 0) }
  }

  /** A leader that is new has not been silent yet. True: it is another one than before. */
  expect(name: string, epoch: number): boolean {
    const expected = `${name}/${epoch}`
    if (expected === this.#expected) return false
    const isChange = this.#expected !== undefined
    this.#expected = expected
    if (name !== this.#settings.self) this.#detector.beginsToLead(name, this.#now)
    if (isChange) this.#promotedAtMs = this.#now
    this.#confirmedAtMs = undefined
    return isChange
  }

  /** The leader is heard: whatever was held of it before. */
  alive(): void {
    this.#confirmedAtMs = undefined
  }

  /** What this node hears of the leader. */
  view(own: Pick<Own, 'report' | 'leads'>): Status['view'] {
    const { self } = this.#settings
    const { name } = this.leader(own)
    const stalled = this.#detector.stalled(this.#now)
    if (name === undefined || name === self)
      return { hears: name === self && own.leads, silentMs: 0, by: 'heartbeat', isCertain: false, stalled }
    const { state, silentMs, cause } = this.#detector.suspicion(name, this.#now)
    return {
      hears: state === 'alive',
      silentMs: Math.min(silentMs, Number.MAX_SAFE_INTEGER),
      by: cause ?? 'heartbeat',
      isCertain: state === 'unreachable',
      stalled,
    }
  }

  observations(own: Own): Observations {
    const { self, members, mode, allowAsyncFailover, turnMs, restMs } = this.#settings
    const nowMs = this.#now
    const leader = this.leader(own).name
    const coordinator = this.#coordinator()
    const verdict = this.#verdict(own, leader, coordinator)
    if (verdict.verdict !== 'dead') this.#confirmedAtMs = undefined
    else this.#confirmedAtMs ??= nowMs
    return {
      nowMs,
      self,
      ...(leader !== undefined && { leader }),
      verdict,
      ...(this.#confirmedAtMs !== undefined && { confirmedAtMs: this.#confirmedAtMs }),
      members: members.map(({ name, priority, neverPromote }): Member => {
        const report = name === self ? own.report : this.#fresh(name)?.report
        return {
          name,
          ...(priority !== undefined && { priority }),
          ...(neverPromote !== undefined && { neverPromote }),
          ...(report && { report }),
        }
      }),
      coordinator,
      intent: own.intent,
      // What a person asks for is done by those that only observe as well.
      policy: {
        mode: own.intent.kind === 'automatic' ? mode : 'act',
        paused: false,
        allowAsyncFailover,
        turnMs,
        restMs,
      },
      ...(this.#promotedAtMs !== undefined && { promotedAtMs: this.#promotedAtMs }),
    }
  }

  #verdict(own: Own, leader: string | undefined, coordinator: CoordinatorView): LeaderVerdict {
    const { self, members, quorum } = this.#settings
    const nowMs = this.#now
    const views: LeaderView[] = [{ ...this.view(own), from: self, ageMs: 0 }]
    for (const [from, { status, atMs }] of this.#said)
      if (status.leader === leader) views.push({ ...status.view, from, ageMs: nowMs - atMs })
    return confirm({
      nowMs,
      leader: leader ?? '',
      members: members.map(({ name }) => name),
      views,
      quorum,
      viewMsMax: this.#viewMsMax,
      ...(coordinator.kind === 'reachable' &&
        coordinator.lease && { leaseFreeAtMs: coordinator.lease.freeAtMs }),
    })
  }

  #coordinator(): CoordinatorView {
    if (this.#settings.coordinator === undefined) return { kind: 'manual' }
    if (this.#unreachableSinceMs !== undefined || this.#held === undefined)
      return { kind: 'unreachable', sinceMs: this.#unreachableSinceMs ?? 0 }
    return coordinatorView(this.#held)
  }

  #fresh(name: string): Status | undefined {
    const said = this.#said.get(name)
    return said !== undefined && this.#now - said.atMs <= this.#viewMsMax ? said.status : undefined
  }

  get #viewMsMax(): number {
    return 5 * this.#settings.heartbeatMs
  }

  get #now(): number {
    return this.#settings.clock.monotonic()
  }
}
