/**
 * Changes of the ack policy while a leader runs: what is asked for, what the log says of it, who is told.
 *
 * Decides: whether a change is taken on, with which records it begins, whether the newest record of the rule must be repeated before the
 * log lets go of it. Leaves to others: which rules hold meanwhile (ack-gate), groups and their order (commit-pipeline), what the
 * records mean (ack-change).
 */
import { FLAG_OWN, type LogPoint, type Lsn, type RecordDraft } from '@understudy/contracts'
import type { AckGate, Ask } from './ack-gate.ts'
import type { AckPolicy, AckRule } from './ack-rule.ts'
import { ackRuleDraft, groupRulesDraft, loweredDraft, type GroupRecords } from './commit-group.ts'
import { changeNotAcked } from './failures.ts'
import type { KeyRequest } from './keyed-writes.ts'
import type { ChangeAcksOptions, CommitPipelineOptions, WriteOptions } from './pipeline-api.ts'
import { PublishedRules } from './published-rules.ts'
import { RAISE, REPEAT, isAcks, isOwn, isRule, type Body, type PendingWrite } from './write-queue.ts'

/** What goes with a request into the queue; without `asks` it needs nobody's acks. */
export interface Enqueued {
  readonly options?: WriteOptions | undefined
  readonly asks?: Ask | undefined
  readonly keyed?: KeyRequest | undefined
  /** Before all that wait. */
  readonly isFirst?: boolean
}

interface Around<T> {
  readonly gate: AckGate<T>
  readonly enqueue: (body: Body<T>, enqueued: Enqueued) => Promise<unknown>
  /** What waits now is not waited for any more, after a record says so. */
  readonly lower: () => void
  readonly options: Pick<CommitPipelineOptions<never>, 'clock' | 'onAckRule' | 'publishRules' | 'mayLead'>
}

export class PolicyChanges<T> {
  readonly #around: Around<T>
  /** The newest record of a rule that asks for acks; `undefined` when the rule is `local`. */
  #ruleAt: Lsn | undefined
  #isRepeating = false
  readonly #published: PublishedRules

  constructor(around: Around<T>, ruleAt: Lsn | undefined) {
    this.#around = around
    this.#ruleAt = ruleAt
    this.#published = new PublishedRules(around.options, () => around.gate)
  }

  /** `now`: what a policy of the same rule resolves with. */
  async begin(policy: AckPolicy, options: ChangeAcksOptions, now: () => LogPoint): Promise<LogPoint> {
    const { gate, enqueue, lower } = this.#around
    const { acceptLoss = false, ackTimeoutMs } = options
    const acks = gate.resolve(policy)
    if (!gate.isOther(acks)) {
      gate.adopt(acks)
      return now()
    }
    const refusal = gate.refusesChange(acks, acceptLoss)
    if (refusal !== undefined) throw refusal
    const published = this.#published.beforeChange(acks.rule, { acceptLoss })
    if (published !== undefined) await published
    const asked = { ...options, ackTimeoutMs: ackTimeoutMs ?? acks.ackTimeoutMs }
    const change = enqueue({ acks, acceptLoss }, { options: asked, isFirst: acceptLoss })
    if (acceptLoss) lower()
    return (await change) as LogPoint
  }

  /** What the records of a group that waits for acks get. */
  records(group: readonly PendingWrite<T>[]): GroupRecords {
    const { gate, options } = this.#around
    const { flags, own } = gate.asksOf(group)
    const whose = isOwn(group[0]?.body) ? FLAG_OWN : 0
    return { flags: flags | whose, own: own === undefined ? undefined : groupRulesDraft(options.clock, own) }
  }

  /** What waits is not waited for any more, as a record says: the rule is lowered, and a change given up, which a person accepted. */
  lowered([first]: readonly PendingWrite<T>[], point: LogPoint, record: LogPoint): void {
    const { gate } = this.#around
    const wasDegraded = gate.isDegraded
    gate.dropChange()
    if (first !== undefined && isAcks(first.body)) {
      first.outcome = changeNotAcked(point, 'replaced')
      first.threw = true
    }
    gate.lowered()
    gate.durable(record)
    if (!wasDegraded) this.tell()
  }

  /** Records of a group that says something of the rule: that it is raised once the set has it, still the same, or to be another one. */
  drafts(body: Body<T>): RecordDraft[] | undefined {
    const { gate, options } = this.#around
    const said = (): RecordDraft => ackRuleDraft(options.clock, gate.ruleText())
    if (body === RAISE) return [said()]
    // While the rule is lowered, that is repeated, too.
    if (body === REPEAT) return gate.isDegraded ? [said(), loweredDraft(options.clock, gate.unmet)] : [said()]
    return isAcks(body) ? gate.changeTexts(body).map((text) => ackRuleDraft(options.clock, text)) : undefined
  }

  /** The group that begins with this is durable. */
  said(body: Body<T> | undefined, { lsn }: LogPoint): void {
    if (!isRule(body)) return
    const { gate } = this.#around
    const asks = gate.rule.of !== undefined || (isAcks(body) && body.acks.rule.of !== undefined)
    // The second one of a repetition says that the rule is lowered.
    this.#ruleAt = asks ? (body === REPEAT ? lsn - 1 : lsn) : undefined
    if (!isAcks(body)) return
    gate.changing(body)
    this.tell()
  }

  /** The record that ends a change is durable. */
  ended(rule: AckRule, record: LogPoint): void {
    this.#ruleAt = rule.of === undefined ? undefined : record.lsn
    this.#around.gate.durable(record)
    this.over()
  }

  /** The change that was under way, if there was one, is over. */
  over(): void {
    const { gate } = this.#around
    if (!gate.isChanging) return
    if (gate.endsWith === undefined && gate.changesTo?.of === undefined) this.#ruleAt = undefined
    gate.changed()
    this.tell()
  }

  tell(): void {
    const { gate, options } = this.#around
    options.onAckRule?.({ effective: gate.effective, degraded: gate.isDegraded })
    this.#published.settle()
  }

  /** Whether the rule may be lowered now; else it is asked again soon. */
  mayLower(): boolean {
    return this.#published.mayLower(() => this.#around.gate.due())
  }

  keepsFrom(lsn: Lsn): Lsn {
    if (this.#ruleAt === undefined || lsn < this.#ruleAt) return lsn
    if (!this.#isRepeating) {
      this.#isRepeating = true
      const isOver = (): void => void (this.#isRepeating = false)
      this.#around.enqueue(REPEAT, {}).then(isOver, isOver)
    }
    return this.#ruleAt - 1
  }
}
