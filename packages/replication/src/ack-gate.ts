/**
 * The gate between "durable here" and "acknowledged": what waits for acks, for how long, and what happens when they do not come.
 *
 * Decides: which rule a write has, which rules a group must satisfy, when it does, when a write has waited long enough,
 * whether the rule in force is the one asked for. Leaves to others: the log, the storage, the replies of a group that is
 * acknowledged (commit-pipeline), who has what (ack-tracker).
 *
 * Validity conditions:
 * 1. One group waits at a time. It is as strict as its strictest write: it must satisfy every rule of its writes.
 * 2. A write that has waited long enough is told `WRITTEN_NOT_ACKED`, once; its group goes on waiting.
 * 3. The rule in force is lowered and raised only after its record is durable; raised only once that record satisfies
 *    the rule itself.
 * 4. While the rule changes, what waits is the record of the change, and it must satisfy the old rule and the new one. A change is
 *    neither given up nor lowered: without the members of both nothing is acknowledged.
 * 5. A write asks by the policy of the moment at which its group runs, not of the one at which it was queued.
 */
import {
  FLAG_ASKS_APPLIED,
  FLAG_ASKS_RECEIVED,
  FLAG_AWAITS_ACKS,
  FLAG_UNMET,
  UnderstudyError,
  type AckLevel,
  type Clock,
  type LogPoint,
  type Lsn,
  type Receipt,
  type ReceiptMember,
  type Timer,
} from '@understudy/contracts'
import { asking, changeRecord, formatAckRecord, formatGroupRules, isSameRule } from './ack-change.ts'
import {
  LOCAL,
  checkedRule,
  formatRule,
  levelsDownFrom,
  resolvePolicy,
  type AckPolicy,
  type AckRule,
  type AckSettings,
  type OnUnmet,
} from './ack-rule.ts'
import { AckTracker, type MemberProgress, type SyncState } from './ack-tracker.ts'
import { changeNotAcked, changeRefused, writtenNotAcked } from './failures.ts'
import type { WriteOptions } from './pipeline-api.ts'
import { RAISE, isAcks, isRule, type AcksRequest, type PendingWrite } from './write-queue.ts'

export interface AckStatus {
  /** The rule asked for; the old one while it changes. */
  readonly rule: string
  /** The rule in force; both, joined by `and`, while it changes. */
  readonly effective: string
  /** While the rule changes: what to, and which members of both rules do not have the record of the change yet. */
  readonly change: { readonly to: string; readonly missing: readonly string[] } | undefined
  /** The rule is lowered, and so is what single writes ask for: no write waits for acks. */
  readonly degraded: boolean
  readonly onUnmet: OnUnmet
  readonly visibility: 'acked' | 'local'
  /** What is durable here and waits for acks. */
  readonly pending: LogPoint | undefined
  /** How long it waits already, in milliseconds. */
  readonly pendingMs: number
  /** Whether what waits is what a former life left in the log. */
  readonly recovering: boolean
}

export interface GateEvents {
  /** The group that waits satisfies its rules. */
  met(): void
  /** The set did not answer in time, and other writes are not to wait for it: those in the queue are refused. */
  refuse(): void
  /** The set did not answer in time, and the rule is to be lowered: its record first, then `lowered`. */
  degrade(): void
  /** The set is back: a record that raises the rule is to be written. */
  raise(): void
}

/** How a write asks for acks, and under which policy it was checked. */
export interface Ask {
  readonly rule: AckRule | undefined
  readonly options: WriteOptions | undefined
  readonly era: number
}

/** What a group asks of acks: flags of its records, and its rules when they are not those of the cluster. */
export interface GroupAsks {
  readonly flags: number
  readonly own: string | undefined
}

const ASKS_NOTHING: GroupAsks = Object.freeze({ flags: 0, own: undefined })

interface Pending<T> {
  readonly point: LogPoint
  readonly rules: readonly AckRule[]
  readonly group: readonly PendingWrite<T>[]
  readonly sinceMs: number
  readonly recovers: boolean
  /** Whether it waits for something else than acks, too. */
  readonly held: (() => boolean) | undefined
  /** When the policy's own time is over. */
  policyAtMs: number
  /** When the first write of the group that is not answered has waited long enough. */
  expiresAtMs: number
  /** It is not looked at before. */
  notBeforeMs: number
}

const NO_MEMBERS: Receipt['members'] = Object.freeze([])
/** What a receipt says of acks that were not asked for. */
export const UNASKED: Pick<Receipt, 'asked' | 'reached' | 'members' | 'degraded'> = Object.freeze({
  asked: 'local',
  reached: 'local',
  members: NO_MEMBERS,
  degraded: false,
})

export class AckGate<T> {
  #settings: AckSettings
  /** What the rule is being changed to; its record is durable. */
  #change: AckSettings | undefined
  /** Grows with each policy. */
  #era = 0
  #plainAsk: Ask | undefined
  readonly #clock: Clock
  readonly #events: GateEvents
  readonly #node: string | undefined
  readonly #saysIfLowered: boolean
  readonly #tracker: AckTracker
  #pending: Pending<T> | undefined
  /** The rules that were not satisfied when the rule was lowered; none while it is in force. */
  #lowered: readonly AckRule[] | undefined
  #isUnmet = false
  /** A record that ends the wait is being written. */
  #isSettling = false
  #raises = false
  #timer: { readonly atMs: number; readonly timer: Timer } | undefined

  /** `before`: the rule that the log says was in force, while a change to that of the policy is under way. */
  constructor(
    policy: AckPolicy | undefined,
    before: AckRule | undefined,
    node: string | undefined,
    clock: Clock,
    events: GateEvents,
    saysIfLowered: boolean = false,
  ) {
    const settings = resolvePolicy(policy, node)
    this.#settings = before === undefined ? settings : { ...settings, rule: before }
    if (before !== undefined) this.#change = settings
    this.#node = node
    this.#saysIfLowered = saysIfLowered
    this.#clock = clock
    this.#events = events
    this.#tracker = new AckTracker(this.#settings)
  }

  get rule(): AckRule {
    return this.#settings.rule
  }

  /** What is asked for; while it changes, what it becomes. */
  get policy(): AckPolicy {
    const { rule, ...times } = this.#change ?? this.#settings
    return { ...rule, ...times }
  }

  /** Whether a change of the rule waits for acks. */
  get isChanging(): boolean {
    return this.#change !== undefined
  }

  get ackTimeoutMs(): number {
    return this.#settings.ackTimeoutMs
  }

  /** Whether a commit has what a rule asks for; and when time alone may change that. */
  isMet(rule: AckRule, lsn: Lsn): boolean {
    return this.#tracker.satisfied(rule, this.#clock.monotonic()) >= lsn
  }

  dueMs(rule: AckRule): number {
    return this.#tracker.dueMs(rule, this.#clock.monotonic())
  }

  /** Why a write that asks for it is not taken on: too few of its set stream, so that it would hold up all others. */
  unready(rule: AckRule | undefined, options: WriteOptions | undefined): UnderstudyError | undefined {
    if (options?.onlyIfReady !== true || rule?.of === undefined || this.isDegraded) return undefined
    return this.#tracker.absent(rule).length === 0 ? undefined : refusedUntilAcked()
  }

  /** Up to where the rules in force are satisfied; `undefined` when they ask for no ack. */
  get heldByRule(): Lsn | undefined {
    if (this.isDegraded) return undefined
    const rules = asking(this.#change === undefined ? [this.rule] : [this.rule, this.#change.rule])
    if (rules.length === 0) return undefined
    const nowMs = this.#clock.monotonic()
    return Math.min(...rules.map((rule) => this.#tracker.satisfied(rule, nowMs)))
  }

  /** Followers of whatever name that have a commit at a level and stream now. */
  having(level: AckLevel, lsn: Lsn): ReceiptMember[] {
    return this.#tracker.having(level, lsn)
  }

  /** Whether a group that waits is committed, and shown here, before it is acknowledged. */
  get showsFirst(): boolean {
    return this.#settings.visibility === 'local'
  }

  /** Why no write is taken on at the moment. */
  get refuses(): boolean {
    return this.#isUnmet && this.#settings.onUnmet === 'fail'
  }

  get isDegraded(): boolean {
    return this.#lowered !== undefined
  }

  /** The rules that a record which raises the rule must satisfy. */
  get raised(): readonly AckRule[] {
    return this.#lowered ?? [this.rule]
  }

  /** The rules that are not satisfied, or were not when the rule was lowered. */
  get unmet(): readonly AckRule[] {
    if (this.#lowered !== undefined) return this.#lowered
    return asking([this.rule, ...(this.#pending?.rules ?? [])])
  }

  /** Text of the rule in force. */
  get effective(): string {
    if (this.#change !== undefined) return [this.rule, this.#change.rule].map(formatRule).join(' and ')
    return formatRule(this.isDegraded ? LOCAL : this.rule)
  }

  /** What a write asks for now. Throws `INVALID_ARGUMENT`. */
  ask(options: WriteOptions | undefined): Ask {
    if (options?.ack !== undefined || options?.of !== undefined)
      return { rule: this.#ruleOf(options), options, era: this.#era }
    return (this.#plainAsk ??= { rule: this.#ruleOf(undefined), options: undefined, era: this.#era })
  }

  /** `undefined` for the leader's own. */
  #ruleOf(options: WriteOptions | undefined): AckRule | undefined {
    const { rule } = this.#settings
    if (options?.ack === undefined && options?.of === undefined)
      return rule.of === undefined ? undefined : rule
    const level = options.ack ?? (rule.of === undefined ? 'durable' : rule.level)
    const of = options.of ?? (level === 'local' ? undefined : rule.of)
    const own = checkedRule({ level, ...(of && { of }) }, this.#node)
    return own.of === undefined ? undefined : own
  }

  /** The rules that a group must satisfy; none when it need not wait. */
  rulesOf(group: readonly PendingWrite<T>[]): readonly AckRule[] {
    let rules: AckRule[] | undefined
    for (const write of group) {
      const { threw, body } = write
      if (body === RAISE) return this.raised
      if (isAcks(body)) return asking(body.acceptLoss ? [body.acks.rule] : [this.rule, body.acks.rule])
      if (write.asks !== undefined && write.asks.era !== this.#era) this.#askAgain(write)
      const { rule } = write
      if (rule === undefined || threw || this.isDegraded) continue
      if (rules === undefined) rules = [rule]
      else if (!rules.some((known) => isSameRule(known, rule))) rules.push(rule)
    }
    return rules ?? []
  }

  /** The policy changed while it was queued. */
  #askAgain(write: PendingWrite<T>): void {
    try {
      write.rule = this.#ruleOf(write.asks?.options)
    } catch {
      // A level without a set, in a cluster that has none any more: it was valid when it was asked for, and is kept.
    }
  }

  /** What the records of a group say of its acks. */
  asksOf(group: readonly PendingWrite<T>[]): GroupAsks {
    const rules = this.rulesOf(group)
    const [first] = rules
    if (first === undefined)
      return this.isDegraded && asksInVain(group) ? { flags: FLAG_UNMET, own: undefined } : ASKS_NOTHING
    const asks = (asked: AckLevel, flag: number): number =>
      rules.some(({ level }) => level === asked) ? flag : 0
    const flags = FLAG_AWAITS_ACKS | asks('received', FLAG_ASKS_RECEIVED) | asks('applied', FLAG_ASKS_APPLIED)
    const isOfCluster = rules.length === 1 && isSameRule(first, this.rule)
    return { flags, own: isOfCluster || isRule(group[0]?.body) ? undefined : formatGroupRules(rules) }
  }

  /** What is durable here. */
  durable(point: LogPoint): void {
    this.#tracker.advance(point.lsn, this.#clock.monotonic())
  }

  // Changes of the policy

  /** Checks a policy for this node. Throws `INVALID_ARGUMENT`. */
  resolve(policy: AckPolicy): AckSettings {
    return resolvePolicy(policy, this.#node)
  }

  /** Why a change is not taken on at the moment. */
  refusesChange({ rule }: AckSettings, acceptLoss: boolean): UnderstudyError | undefined {
    if (this.#change !== undefined && !acceptLoss)
      return changeRefused(`the change to '${formatRule(this.#change.rule)}' is under way`)
    for (const each of asking(acceptLoss ? [rule] : [this.rule, rule])) {
      const missing = this.#tracker.absent(each)
      if (missing.length > 0)
        return changeRefused(`of '${formatRule(each)}' these do not stream: ${missing.join(', ')}`)
    }
    return undefined
  }

  /** Whether a policy has another rule than the one in force. */
  isOther(settings: AckSettings): boolean {
    if (this.isDegraded || this.#change !== undefined || !isSameRule(settings.rule, this.rule)) return true
    return this.#mayBeLowered(settings) !== this.#mayBeLowered(this.#settings)
  }

  #mayBeLowered({ onUnmet, rule }: AckSettings): boolean {
    return this.#saysIfLowered && onUnmet === 'degrade' && rule.of !== undefined
  }

  /** Text of the record of the rule in force, or of the one that a change ends with. */
  ruleText(rule: AckRule = this.rule): string {
    const settings = rule === this.rule ? this.#settings : (this.#change ?? this.#settings)
    return formatAckRecord({ kind: 'rule', rule, mayBeLowered: this.#mayBeLowered(settings) })
  }

  /** Texts of the records that begin a change. */
  changeTexts({ acks, acceptLoss }: AcksRequest): string[] {
    const { rule } = acks
    // While it changes neither of the two is lowered.
    const mayBeLowered = this.#mayBeLowered(acks)
    if (!acceptLoss || this.rule.of === undefined)
      return [formatAckRecord({ ...changeRecord(this.rule, rule), mayBeLowered })]
    return [...new Set([formatRule(LOCAL), formatAckRecord({ kind: 'rule', rule, mayBeLowered })])]
  }

  /** The record of the change is durable. When a loss was accepted, it says that the old rule is over. */
  changing({ acks, acceptLoss }: AcksRequest): void {
    this.#change = acks
    if (acceptLoss) this.#settings = { ...this.#settings, rule: LOCAL }
  }

  /** What the rule is being changed to. */
  get changesTo(): AckRule | undefined {
    return this.#change?.rule
  }

  /** The rule that a change under way ends with a record of, because the old one asks for acks, too. */
  get endsWith(): AckRule | undefined {
    const { rule } = this
    const to = this.#change?.rule
    return to === undefined || changeRecord(rule, to).kind === 'rule' ? undefined : to
  }

  /** The change is over, as its record says, or nothing but the times of the policy changed. */
  adopt(settings: AckSettings): void {
    this.#settings = settings
    this.#change = undefined
    this.#lowered = undefined
    this.#raises = false
    this.#era += 1
    this.#plainAsk = undefined
    this.#tracker.limits = settings
    const pending = this.#pending
    if (pending === undefined) return
    pending.policyAtMs = pending.sinceMs + settings.ackTimeoutMs
    pending.expiresAtMs = this.#firstExpiry(pending)
    this.#isUnmet = false
    this.look()
  }

  /** The change that is under way ends as it was asked for. */
  changed(): void {
    if (this.#change !== undefined) this.adopt(this.#change)
  }

  /** The change that is under way is given up. */
  dropChange(): void {
    this.#change = undefined
  }

  // What waits

  /** A group waits from now on. */
  wait(
    point: LogPoint,
    rules: readonly AckRule[],
    group: readonly PendingWrite<T>[],
    { recovers = false, held }: { readonly recovers?: boolean; readonly held?: () => boolean } = {},
  ): void {
    const sinceMs = this.#clock.monotonic()
    const policyAtMs = sinceMs + this.#settings.ackTimeoutMs
    const since = { sinceMs, policyAtMs, expiresAtMs: 0, notBeforeMs: 0 }
    const pending = { point, rules, group, recovers, held, ...since }
    pending.expiresAtMs = this.#firstExpiry(pending)
    this.#pending = pending
    // The caller may have given up meanwhile.
    if (group.some(({ aborted }) => aborted)) this.aborted()
  }

  /** A caller gave up, or a write of the group that waits may have. */
  aborted(): void {
    const pending = this.#pending
    if (pending !== undefined) this.#expire(pending, this.#clock.monotonic())
  }

  /** Looks at what waits: called once the followers were told of it. */
  look(): void {
    const nowMs = this.#clock.monotonic()
    const pending = this.#pending
    if (pending === undefined) return this.#lookForReturn(nowMs)
    if (this.#isSettling) return
    if (nowMs < pending.notBeforeMs) return this.#schedule(pending.notBeforeMs, nowMs)
    const isAcked = pending.rules.every((rule) => this.#tracker.satisfied(rule, nowMs) >= pending.point.lsn)
    if (isAcked && pending.held?.() !== true) {
      this.#isUnmet = false
      return this.#events.met()
    }
    if (nowMs >= pending.expiresAtMs) this.#expire(pending, nowMs)
    if (nowMs >= pending.policyAtMs && !this.#isUnmet) this.#unmet(pending)
    if (this.#pending === pending) this.#schedule(this.#nextMs(pending, nowMs), nowMs)
  }

  /** A record that ends the wait is being written: acks that come meanwhile change nothing. */
  settling(): void {
    this.#isSettling = true
  }

  /** The group does not wait any more. */
  end(): void {
    this.#pending = undefined
    this.#isSettling = false
  }

  /** Nothing waits any more. */
  close(): void {
    this.end()
    this.#lowered = undefined
    this.#timer?.timer.cancel()
    this.#timer = undefined
  }

  /** The record that lowers the rule is durable. */
  lowered(): void {
    this.#lowered = this.unmet
    this.#raises = false
    this.#isUnmet = false
    this.end()
    this.look()
  }

  /** The record that raises the rule is durable, and satisfies it. */
  restored(): void {
    this.#lowered = undefined
    this.#raises = false
  }

  /** What the policy does with what waits too long was postponed, and can be done now. */
  due(): void {
    const pending = this.#pending
    if (pending === undefined || this.#isSettling) return
    pending.policyAtMs = Math.min(pending.policyAtMs, this.#clock.monotonic())
    this.look()
  }

  /** The record could not be written; the group waits on, and is asked again after as long a time. */
  postpone(): void {
    const pending = this.#pending
    if (pending === undefined) return
    this.#isUnmet = false
    this.#isSettling = false
    pending.policyAtMs = this.#clock.monotonic() + this.#settings.ackTimeoutMs
    this.look()
  }

  /** The record that ends a change could not be written: it is tried again after a while. */
  retryEnd(): void {
    const pending = this.#pending
    if (pending === undefined) return
    pending.notBeforeMs = this.#clock.monotonic() + this.#settings.settleMs
    this.look()
  }

  raiseFailed(): void {
    this.#raises = false
  }

  /** Whether a group waits, and has waited for as long as the policy says. */
  get waits(): 'no' | 'yes' | 'unmet' {
    if (this.#pending === undefined) return 'no'
    return this.#isUnmet || this.#clock.monotonic() >= this.#pending.policyAtMs ? 'unmet' : 'yes'
  }

  follower(name: string, progress: MemberProgress | undefined): void {
    this.#tracker.note(name, progress, this.#clock.monotonic(), this.#clock.now())
    if (this.#pending?.rules.some(({ of }) => of?.names.includes(name)) === true || this.isDegraded)
      this.look()
  }

  /** Whether its ack would count for what waits: of a FIRST set only that of a chosen member. */
  awaits(name: string): boolean {
    const pending = this.#pending
    if (pending === undefined) return false
    const nowMs = this.#clock.monotonic()
    return pending.rules.some((rule) => counts(this.#tracker.syncState(rule, name, nowMs)))
  }

  /** Of both rules while one becomes the other. */
  syncState(name: string): SyncState {
    const nowMs = this.#clock.monotonic()
    const state = this.#tracker.syncState(this.rule, name, nowMs)
    if (this.#change === undefined || counts(state)) return state
    const next = this.#tracker.syncState(this.#change.rule, name, nowMs)
    return next === 'async' ? state : next
  }

  status(): AckStatus {
    const { onUnmet, visibility } = this.#settings
    const pending = this.#pending
    return {
      rule: formatRule(this.rule),
      effective: this.effective,
      change: this.#change && { to: formatRule(this.#change.rule), missing: this.#missing() },
      degraded: this.isDegraded,
      onUnmet,
      visibility,
      pending: pending?.point,
      pendingMs: pending === undefined ? 0 : this.#clock.monotonic() - pending.sinceMs,
      recovering: pending?.recovers === true,
    }
  }

  #missing(): string[] {
    const pending = this.#pending
    if (pending === undefined) return []
    return [...new Set(pending.rules.flatMap((rule) => this.#tracker.lacking(rule, pending.point.lsn)))]
  }

  /** What a receipt says of acks, when the write is answered. */
  verdict(rule: AckRule | undefined, point: LogPoint): typeof UNASKED {
    if (rule === undefined) return UNASKED
    const nowMs = this.#clock.monotonic()
    const isMet = this.#tracker.satisfied(rule, nowMs) >= point.lsn
    const reached = isMet ? rule.level : this.#reached(rule, point, nowMs)
    return {
      asked: rule.level,
      reached,
      members: this.#tracker.holders(rule, point.lsn),
      degraded: reached !== rule.level,
    }
  }

  #reached(rule: AckRule, { lsn }: LogPoint, nowMs: number): AckLevel {
    return levelsDownFrom(rule.level).find((level) => this.#tracker.holds(rule, level, lsn, nowMs)) ?? 'local'
  }

  // Time

  #expire(pending: Pending<T>, nowMs: number): void {
    for (const write of pending.group) {
      const isLate = nowMs >= this.#expiryOf(write, pending.sinceMs)
      if (write.settled || write.threw || !(isLate || write.aborted)) continue
      write.settled = true
      const reason = write.aborted ? 'aborted' : 'deadline'
      const describe = isAcks(write.body) ? changeNotAcked : writtenNotAcked
      write.reject(describe(pending.point, reason))
    }
    pending.expiresAtMs = this.#firstExpiry(pending)
  }

  #firstExpiry({ group, sinceMs }: Pick<Pending<T>, 'group' | 'sinceMs'>): number {
    let expiry = Number.POSITIVE_INFINITY
    for (const write of group)
      if (!write.settled && !write.threw) expiry = Math.min(expiry, this.#expiryOf(write, sinceMs))
    return expiry
  }

  /** A write without a time of its own waits until the rule is lowered, where it is. */
  #expiryOf({ ackTimeoutMs }: PendingWrite<T>, sinceMs: number): number {
    if (ackTimeoutMs !== undefined) return sinceMs + ackTimeoutMs
    const { onUnmet } = this.#settings
    return onUnmet === 'degrade' ? Number.POSITIVE_INFINITY : sinceMs + this.#settings.ackTimeoutMs
  }

  #unmet(pending: Pending<T>): void {
    if (pending.held !== undefined && this.rule.of === undefined) {
      // No rule could be lowered, and whoever is gone is not waited for much longer.
      pending.policyAtMs = Number.POSITIVE_INFINITY
      return
    }
    this.#isUnmet = true
    pending.policyAtMs = Number.NEGATIVE_INFINITY
    // Both rules hold until the change has ended: it is not the policy's to lower one of them.
    const onUnmet = this.isChanging && this.#settings.onUnmet === 'degrade' ? 'block' : this.#settings.onUnmet
    if (onUnmet === 'degrade') this.#events.degrade()
    if (onUnmet === 'fail') this.#events.refuse()
  }

  #nextMs({ rules, policyAtMs, expiresAtMs }: Pending<T>, nowMs: number): number {
    let next = this.#isUnmet ? expiresAtMs : Math.min(policyAtMs, expiresAtMs)
    for (const rule of rules) next = Math.min(next, this.#tracker.dueMs(rule, nowMs))
    return next
  }

  #lookForReturn(nowMs: number): void {
    const lowered = this.#lowered
    if (lowered === undefined || this.#raises) return
    if (lowered.every((rule) => this.#tracker.isReady(rule, nowMs))) {
      this.#raises = true
      return this.#events.raise()
    }
    const due = Math.min(...lowered.map((rule) => this.#tracker.dueMs(rule, nowMs)))
    this.#schedule(due, nowMs)
  }

  #schedule(atMs: number, nowMs: number): void {
    // One that is due earlier looks in vain, and schedules the rest: cheaper than a timer for each group.
    if (atMs === Number.POSITIVE_INFINITY || (this.#timer !== undefined && this.#timer.atMs <= atMs)) return
    this.#timer?.timer.cancel()
    // Timers count whole milliseconds, and may fire a moment early: the look then schedules the rest.
    const timer = this.#clock.schedule(Math.max(0, atMs - nowMs), () => {
      this.#timer = undefined
      this.look()
    })
    this.#timer = { atMs, timer }
  }
}

/** Whether an ack of a member in this state counts now. */
function counts(state: SyncState): boolean {
  return state === 'sync' || state === 'quorum'
}

function asksInVain<T>(group: readonly PendingWrite<T>[]): boolean {
  return group.some(({ rule, threw }) => rule !== undefined && !threw)
}

/** The set did not answer, and the policy refuses writes until it does. */
export function refusedUntilAcked(): UnderstudyError {
  return new UnderstudyError(
    'NOT_WRITTEN',
    'The followers that must acknowledge writes do not, and the policy is not to wait for them. Nothing was changed; it may be sent again once they are back.',
    { reason: 'acks' },
  )
}
