/**
 * What is published of the ack rule outside of the log, for elections among nodes that cannot know what the leader's log says by now.
 *
 * Decides: what is published, and when the leader may go on. Leaves to others: where it is published (a coordinator, through `publish`), the rule itself.
 *
 * 1. At any moment every rule that is in force, and every one that may come into force before the next publication, is published: of two rules both,
 *    of one that may be lowered `local` beside it. So an election never proves by a rule that the leader does not keep.
 * 2. What is published without need makes an election stricter, never wrong; so it is taken back later, again and again until that
 *    succeeds.
 * 3. Without `publish` nothing is published and nothing waits: then the log's own account counts.
 */
import type { Clock, PublishedRule } from '@understudy/contracts'
import { UnderstudyError } from '@understudy/contracts'
import type { AckRule } from './ack-rule.ts'

export interface RulesToPublish {
  readonly rule: PublishedRule
  readonly next?: PublishedRule
}

export type PublishRules = (rules: RulesToPublish) => Promise<void>

export interface PublishedRulesOptions {
  readonly publishRules?: PublishRules
  readonly clock: Clock
  /** One that leads no more publishes nothing. */
  readonly mayLead?: () => boolean
}

/** What the gate says of the rule now. */
interface InForce {
  readonly rule: AckRule
  readonly isDegraded: boolean
  readonly changesTo: AckRule | undefined
}

const LOCAL: PublishedRule = Object.freeze({ level: 'local' })
/** Between two tries to publish, and before what was published in vain is taken back, in milliseconds. */
const AGAIN_MS = 1000
const IN_VAIN_MS = 10_000

export class PublishedRules {
  readonly #publish: PublishRules | undefined
  readonly #clock: Clock
  readonly #leads: () => boolean
  readonly #inForce: () => InForce
  /** What is known to be published; `undefined`: one of several. */
  #known: string | undefined
  /** The newest wish; a try of an older one is not repeated. */
  #wish = 0
  #isLowering = false

  constructor({ publishRules, clock, mayLead }: PublishedRulesOptions, inForce: () => InForce) {
    this.#publish = publishRules
    this.#clock = clock
    this.#leads = () => mayLead?.() !== false
    this.#inForce = inForce
  }

  /** Before another rule may come into force beside the one that is. Absent: nothing is to be waited for. Rejects with `NOT_WRITTEN`. */
  beforeChange(next: AckRule, { acceptLoss }: { readonly acceptLoss: boolean }): Promise<void> | undefined {
    if (this.#publish === undefined) return undefined
    const { rule } = this.#inForce()
    this.#wish++
    // One that does not wait for the old rule is as good as none until it is over.
    return this.#put(acceptLoss ? { rule, next: LOCAL } : { rule, next }).catch((cause: unknown) => {
      this.settle()
      throw new UnderstudyError(
        'NOT_WRITTEN',
        'Another ack rule must be published before it is in force, and the coordinator did not take it. Nothing was changed; try again when it is reached.',
        { cause },
      )
    })
  }

  /** Whether the rule may be lowered now. Not yet: it is being published, and `again` is called once it is; if that fails, never. */
  mayLower(again: () => void = () => {}): boolean {
    if (this.#publish === undefined) return true
    const lowered = { rule: this.#inForce().rule, next: LOCAL }
    if (this.#known === textOf(lowered)) return true
    if (this.#isLowering) return false
    this.#isLowering = true
    this.#wish++
    this.#put(lowered)
      .then(again, () => {})
      .finally(() => {
        this.#isLowering = false
        this.#clock.schedule(IN_VAIN_MS, () => this.settle())
      })
    return false
  }

  /** The rule became another one, or is as it was: what is not needed any more is taken back. */
  settle(): void {
    if (this.#publish === undefined || !this.#leads()) return
    const wanted = this.#wanted()
    if (this.#known === textOf(wanted)) return
    const wish = ++this.#wish
    this.#put(wanted).catch(() => {
      if (wish !== this.#wish) return
      this.#clock.schedule(AGAIN_MS, () => wish === this.#wish && this.settle())
    })
  }

  #wanted(): RulesToPublish {
    const { rule, isDegraded, changesTo } = this.#inForce()
    if (isDegraded) return { rule, next: LOCAL }
    return changesTo === undefined ? { rule } : { rule, next: changesTo }
  }

  async #put(rules: RulesToPublish): Promise<void> {
    const wish = this.#wish
    this.#known = undefined
    await this.#publish?.(plain(rules))
    if (wish === this.#wish) this.#known = textOf(rules)
  }
}

function plain({ rule, next }: RulesToPublish): RulesToPublish {
  return { rule: only(rule), ...(next && { next: only(next) }) }
}

function only({ level, of }: PublishedRule): PublishedRule {
  return of === undefined
    ? { level }
    : { level, of: { kind: of.kind, count: of.count, names: [...of.names] } }
}

function textOf(rules: RulesToPublish): string {
  return JSON.stringify(plain(rules))
}
