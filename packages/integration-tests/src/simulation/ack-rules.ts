/**
 * Which ack rules hold for which record, as the leader's log tells it in order; and that they change in the right order.
 *
 * Decides: what must be held by whom when the rule becomes another one. Leaves to others: who has what (acks).
 *
 * 1. A rule that asks for acks becomes another one only by a record that names both, and then by one of the new rule alone; by the time of that
 *    one members of both have the record that names both.
 * 2. A change that has not ended may be given up for the old rule, or be replaced by one to a third rule; the old rule is in each.
 * 3. A group whose writes ask for other rules says which in its first record: those hold for all of it. Groups of pages are not looked at.
 * 4. A start says what holds; an epoch without such a record asks for no acks.
 */
import {
  CONTROL_ACKS,
  CONTROL_EPOCH,
  CONTROL_GROUP_ACKS,
  FLAG_JOINS_GROUP,
  FORMAT_CONTROL,
  type Lsn,
} from '@understudy/contracts'
import { formatRule, parseRule, type AckRule } from '@understudy/replication'
import { InvariantBreach } from './breach.ts'
import type { RawRecord } from './raw-records.ts'

interface Stretch {
  readonly from: Lsn
  /** The rule in force, or the old one. */
  readonly rule: AckRule
  readonly to: AckRule | undefined
}

const LOCAL: AckRule = { level: 'local' }

export class AckRules {
  readonly #stretches: Stretch[] = [{ from: 0, rule: LOCAL, to: undefined }]
  /** Whether a rule's members have an LSN. */
  readonly #isHeld: (rule: AckRule, lsn: Lsn) => boolean
  readonly #changed: () => void
  #begins = false
  /** Rules of groups that say their own, for each of their records. */
  readonly #own = new Map<Lsn, readonly AckRule[]>()
  #group: readonly AckRule[] | undefined

  constructor(isHeld: (rule: AckRule, lsn: Lsn) => boolean, changed: () => void) {
    this.#isHeld = isHeld
    this.#changed = changed
  }

  /** Rules that a transaction which ends at this LSN must satisfy. */
  rulesAt(lsn: Lsn): readonly AckRule[] {
    return this.#own.get(lsn) ?? this.clusterAt(lsn)
  }

  /** Those of the cluster for it. */
  clusterAt(lsn: Lsn): AckRule[] {
    const { rule, to } = this.#stretches.findLast(({ from }) => from < lsn) ?? { rule: LOCAL, to: undefined }
    return [rule, to].filter((each) => each?.of !== undefined) as AckRule[]
  }

  /** A record entered the history. */
  entered({ lsn, format, flags, payload }: RawRecord): void {
    const isFirst = (flags & FLAG_JOINS_GROUP) === 0
    if (isFirst) this.#group = undefined
    const kind = format === FORMAT_CONTROL ? payload[0] : undefined
    if (kind === CONTROL_ACKS) this.#say(lsn, Buffer.from(payload.subarray(1)).toString())
    else if (kind === CONTROL_GROUP_ACKS && isFirst)
      this.#group = Buffer.from(payload.subarray(1)).toString().split(' and ').map(parseRule)
    else if (this.#begins && kind !== CONTROL_EPOCH) this.#say(lsn, 'local')
    if (this.#group !== undefined) this.#own.set(lsn, this.#group)
    this.#begins = kind === CONTROL_EPOCH
  }

  #say(lsn: Lsn, text: string): void {
    const [next = '', old] = text.split(' after ')
    const said = parseRule(next)
    const stretch: Stretch =
      old === undefined
        ? { from: lsn, rule: said, to: undefined }
        : { from: lsn, rule: parseRule(old), to: said }
    this.#expectOrder(stretch, text)
    this.#stretches.push(stretch)
  }

  #expectOrder(next: Stretch, text: string): void {
    const now = this.#stretches.at(-1) as Stretch
    if (now.rule.of === undefined || formatRule(next.rule) === formatRule(now.rule)) return
    const isEnd =
      now.to !== undefined && next.to === undefined && formatRule(next.rule) === formatRule(now.to)
    if (!isEnd)
      throw new InvariantBreach(
        'A3',
        `'${formatRule(now.rule)}' was in force when LSN ${next.from} said '${text}'`,
      )
    for (const rule of [now.rule, next.rule])
      if (rule.of !== undefined && !this.#isHeld(rule, now.from))
        throw new InvariantBreach(
          'A3',
          `LSN ${next.from} ended '${formatRule(now.rule)}', and members of '${formatRule(rule)}' lack LSN ${now.from}, which names both`,
        )
    this.#changed()
  }
}
