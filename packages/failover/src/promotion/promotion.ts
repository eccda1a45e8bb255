/**
 * The node that promotes itself, step by step.
 *
 * Decides: what it asks of whom next, what it writes, when it accepts writes, when it gives up. Leaves to others: choosing (decide),
 * carrying out effects and reporting them as events (the driver).
 *
 *   idle → stopping → promising ⇄ fetching → applying → claiming → beginning → leading
 *     ▲        │          │           │          │          │           │          │
 *     └────────┴──────────┴───────────┴──── abandoned ──────┴───────────┴──────────┘
 *
 * Validity conditions:
 * 1. It is volatile on purpose. What must outlive a crash is elsewhere: promises with each voter, the claim with the coordinator,
 *    the epoch in the log. A node that starts again begins a new attempt with a higher epoch; what the old one left binds
 *    nobody to anything but not acknowledging below it.
 * 2. It claims over exactly the published state that the decision was made from, once its backlog is applied. A claim with an
 *    unknown outcome is repeated, and a state that is found to be its own is a claim that succeeded.
 * 3. The lease is looked at before the epoch begins and again before writes are accepted, with the clock read last.
 * 4. Giving up undoes nothing that could be wrong to undo: it lets receivers go on, and promises stand.
 */
import { decide } from '../decide/decide.ts'
import type { Action, Decision, PromoteAction } from '../decide/decision.ts'
import type { AttemptView, Member, Observations, Promised } from '../decide/observations.ts'

export type PromotionPhase =
  | 'idle'
  | 'stopping'
  | 'promising'
  | 'fetching'
  | 'applying'
  | 'claiming'
  | 'beginning'
  | 'leading'

export type PromotionEvent =
  /** Anything that is observed is new: each report, each view, each tick. */
  | { readonly kind: 'observed'; readonly observations: Observations }
  /** A member said no to what it was asked; `runId`: to the promise of this attempt. */
  | { readonly kind: 'refused'; readonly name: string; readonly reason: string; readonly runId?: string }
  | { readonly kind: 'tailFetched' }
  | { readonly kind: 'tailFailed'; readonly from: string; readonly reason: string }
  /** All up to the end of the log is applied. */
  | { readonly kind: 'applied' }
  /** Lease and state are this attempt's. Without a coordinator: `Infinity`. */
  | { readonly kind: 'claimed'; readonly validUntilMs: number }
  /** The outcome is unknown. */
  | { readonly kind: 'claimUncertain' }
  /** Another state is there: whose. With the lease that is held for this attempt, if one is. */
  | {
      readonly kind: 'claimConflict'
      readonly epoch: number
      readonly runId: string
      readonly validUntilMs: number
    }
  /** The first record of the epoch, its no-op, is durable. */
  | { readonly kind: 'begun' }
  /** A step failed for good: a disk, a lease that another one got. */
  | { readonly kind: 'failed'; readonly reason: string }
  /** This node promised or saw a higher epoch. */
  | { readonly kind: 'superseded'; readonly epoch: number }

export type PromotionEffect =
  | { readonly kind: 'stopReceivers'; readonly names: readonly string[] }
  | {
      readonly kind: 'promise'
      readonly promise: Promised
      readonly voters: readonly string[]
      readonly isPlanned: boolean
    }
  | Extract<Action, { kind: 'fetchTail' }>
  | { readonly kind: 'apply'; readonly upToLsn: number }
  /** Lease and state by compare-and-set; without a coordinator there is nothing to do: `claimed` at once. */
  | { readonly kind: 'claim'; readonly promotion: PromoteAction }
  /** Writes the no-op, durably, unless `validUntilMs` is over when it is done. */
  | { readonly kind: 'beginEpoch'; readonly promotion: PromoteAction; readonly validUntilMs: number }
  /** From here on this node leads. Acks count from the no-op on. */
  | { readonly kind: 'acceptWrites'; readonly promotion: PromoteAction; readonly validUntilMs: number }
  /** Those that were stopped may receive again, where nobody else stopped them since. */
  | {
      readonly kind: 'abandon'
      readonly reason: string
      /** It was no attempt any more: it led. */
      readonly hadLed: boolean
      readonly holdUntilMs: number
      readonly stopped: readonly string[]
    }
  /** To be kept before what it decides is done. */
  | { readonly kind: 'record'; readonly observations: Observations; readonly decision: Decision }

export interface PromotionSettings {
  readonly self: string
  /** A member that was asked has so long to answer. Default 500. */
  readonly answerMsMax?: number
  /** An attempt that is not leading by then gives up. Default 10,000. */
  readonly attemptMsMax?: number
  /** Pause after giving up, at least; up to twice that by `fraction`. Default 300. */
  readonly holdMs?: number
  /** A new random run id. */
  readonly runId: () => string
  /** Uniform in [0, 1). */
  readonly fraction: () => number
}

export class Promotion {
  readonly #settings: Required<PromotionSettings>
  #phase: PromotionPhase = 'idle'
  #attempt: AttemptView | undefined
  #promotion: PromoteAction | undefined
  #beganAtMs = 0
  #holdUntilMs: number | undefined
  #validUntilMs = -Infinity
  /** Since when a member is asked for the step under way. */
  readonly #asked = new Map<string, number>()
  readonly #refusals = new Map<string, string>()
  readonly #stopped = new Set<string>()
  #lastRecorded = ''

  constructor(settings: PromotionSettings) {
    this.#settings = { answerMsMax: 500, attemptMsMax: 10_000, holdMs: 300, ...settings }
  }

  get phase(): PromotionPhase {
    return this.#phase
  }

  get attempt(): AttemptView | undefined {
    return this.#attempt
  }

  step(event: PromotionEvent, nowMs: number): PromotionEffect[] {
    if (event.kind === 'superseded') return this.#superseded(event.epoch, nowMs)
    if (this.#phase === 'leading') return []
    if (this.#phase !== 'idle' && nowMs - this.#beganAtMs > this.#settings.attemptMsMax)
      return this.#abandon('it took too long', nowMs)
    switch (event.kind) {
      case 'observed':
        return this.#observed(event.observations, nowMs)
      case 'refused':
        // A word about an attempt that is over says nothing about this one.
        if (this.#phase !== 'idle' && (event.runId === undefined || event.runId === this.#attempt?.runId))
          this.#refusals.set(event.name, event.reason)
        return []
      case 'tailFetched':
        if (this.#phase === 'fetching') this.#phase = 'promising'
        return []
      case 'tailFailed':
        if (this.#phase !== 'fetching') return []
        this.#refusals.set(event.from, event.reason)
        this.#phase = 'promising'
        return []
      case 'applied':
        return this.#phase === 'applying' ? this.#claim() : []
      case 'claimed':
        return this.#phase === 'claiming' ? this.#claimed(event.validUntilMs, nowMs) : []
      case 'claimUncertain':
        return this.#phase === 'claiming' ? this.#claim() : []
      case 'claimConflict': {
        if (this.#phase !== 'claiming') return []
        const isOwn = event.epoch === this.#attempt?.epoch && event.runId === this.#attempt.runId
        return isOwn
          ? this.#claimed(event.validUntilMs, nowMs)
          : this.#abandon(`the run ${event.runId} of epoch ${event.epoch} was first`, nowMs)
      }
      case 'begun':
        return this.#phase === 'beginning' ? this.#begun(nowMs) : []
      case 'failed':
        return this.#phase === 'idle' ? [] : this.#abandon(event.reason, nowMs)
    }
  }

  /** Looks at what is observed, with what was asked and answered so far. */
  #observed(given: Observations, nowMs: number): PromotionEffect[] {
    // From here on nothing is chosen any more: compare-and-set and the promises decide.
    if (this.#phase === 'fetching' || this.#phase === 'applying') return []
    if (this.#phase === 'claiming' || this.#phase === 'beginning') return []
    const observations: Observations = {
      ...given,
      nowMs,
      members: given.members.map((member) => this.#seen(member, nowMs)),
      ...(this.#attempt !== undefined && { attempt: this.#attempt }),
      ...(this.#holdUntilMs !== undefined && { holdUntilMs: this.#holdUntilMs }),
    }
    const decision = decide(observations)
    const effects = this.#act(decision, observations, nowMs)
    return [...this.#recorded(observations, decision, effects), ...effects]
  }

  #act({ action, actor, reasons }: Decision, observations: Observations, nowMs: number): PromotionEffect[] {
    const isUnderWay = this.#phase !== 'idle'
    if (action.kind === 'none' || action.kind === 'refuse')
      return isUnderWay ? this.#abandon(reasons.at(-1) ?? action.kind, nowMs) : []
    if (action.kind === 'wait') return []
    if (actor !== this.#settings.self)
      return isUnderWay ? this.#abandon(`it is the turn of ${actor ?? 'nobody'}`, nowMs) : []
    if (!isUnderWay) this.#beganAtMs = nowMs
    switch (action.kind) {
      case 'stopReceivers': {
        this.#phase = 'stopping'
        for (const name of action.names) this.#stopped.add(name)
        const names = this.#toAsk(action.names, nowMs)
        return names.length === 0 ? [] : [{ kind: 'stopReceivers', names }]
      }
      case 'promise': {
        if (this.#attempt === undefined) {
          this.#attempt = {
            epoch: action.epoch,
            runId: this.#settings.runId(),
            candidate: this.#settings.self,
          }
          // Whoever did not even stop in time is not waited for a second time.
          for (const name of this.#asked.keys())
            if (!action.voters.includes(name)) this.#refusals.set(name, 'it did not answer in time')
          this.#asked.clear()
        }
        this.#phase = 'promising'
        for (const name of action.voters) this.#stopped.add(name)
        const voters = this.#toAsk(action.voters, nowMs)
        const isPlanned = observations.intent.kind === 'switchover'
        return voters.length === 0 ? [] : [{ kind: 'promise', promise: this.#attempt, voters, isPlanned }]
      }
      case 'fetchTail':
        this.#phase = 'fetching'
        return [action]
      case 'promote':
        this.#promotion = action
        if (action.backlog === 0) return this.#claim()
        this.#phase = 'applying'
        return [{ kind: 'apply', upToLsn: action.from.lsn }]
    }
  }

  #claim(): PromotionEffect[] {
    this.#phase = 'claiming'
    return [{ kind: 'claim', promotion: this.#promotion as PromoteAction }]
  }

  #claimed(validUntilMs: number, nowMs: number): PromotionEffect[] {
    if (validUntilMs <= nowMs) return this.#abandon('its lease was over before it led', nowMs)
    this.#validUntilMs = validUntilMs
    this.#phase = 'beginning'
    return [{ kind: 'beginEpoch', promotion: this.#promotion as PromoteAction, validUntilMs }]
  }

  #begun(nowMs: number): PromotionEffect[] {
    if (this.#validUntilMs <= nowMs) return this.#abandon('its lease was over before it led', nowMs)
    this.#phase = 'leading'
    return [
      { kind: 'acceptWrites', promotion: this.#promotion as PromoteAction, validUntilMs: this.#validUntilMs },
    ]
  }

  #superseded(epoch: number, nowMs: number): PromotionEffect[] {
    const own = this.#attempt?.epoch
    if (this.#phase === 'idle' || (own !== undefined && epoch <= own)) return []
    return this.#abandon(`the epoch ${epoch} was promised or seen`, nowMs)
  }

  #abandon(reason: string, nowMs: number): PromotionEffect[] {
    const { holdMs, fraction } = this.#settings
    const holdUntilMs = nowMs + holdMs * (1 + fraction())
    const stopped = [...this.#stopped].sort()
    const hadLed = this.#phase === 'leading'
    this.#phase = 'idle'
    this.#attempt = undefined
    this.#promotion = undefined
    this.#holdUntilMs = holdUntilMs
    this.#validUntilMs = -Infinity
    this.#asked.clear()
    this.#refusals.clear()
    this.#stopped.clear()
    return [{ kind: 'abandon', reason, hadLed, holdUntilMs, stopped }]
  }

  /** A member that was asked and neither did it nor said no in time is taken to say no. */
  #seen(member: Member, nowMs: number): Member {
    const refusal = this.#refusals.get(member.name)
    if (refusal !== undefined) return { ...member, answers: false, refusal }
    const askedAtMs = this.#asked.get(member.name)
    if (askedAtMs === undefined || nowMs - askedAtMs <= this.#settings.answerMsMax) return member
    const { report } = member
    const isStopped = report?.receiversStopped === true
    const isDone =
      isStopped && (this.#attempt === undefined || report.promised?.runId === this.#attempt.runId)
    return isDone ? member : { ...member, answers: false, refusal: 'it did not answer in time' }
  }

  #toAsk(names: readonly string[], nowMs: number): string[] {
    const fresh = names.filter((name) => !this.#asked.has(name))
    for (const name of fresh) this.#asked.set(name, nowMs)
    return fresh
  }

  /** Each decision that is acted on is kept, and each other one when it is another than before. */
  #recorded(
    observations: Observations,
    decision: Decision,
    effects: readonly PromotionEffect[],
  ): PromotionEffect[] {
    const gist = JSON.stringify([decision.action.kind, decision.observed?.kind, decision.actor])
    if (effects.length === 0 && gist === this.#lastRecorded) return []
    this.#lastRecorded = gist
    return [{ kind: 'record', observations, decision }]
  }
}
