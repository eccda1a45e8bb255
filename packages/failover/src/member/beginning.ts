/**
 * Who promotes itself without anybody asking: the first leader of all, and without a coordinator the one that was started again.
 *
 * 1. Only an empty log founds, and only where the coordinator holds no state yet.
 * 2. Without a coordinator nobody may have led meanwhile, as far as the others say within `SETTLE_MS` of the start. With one it is a
 *    promotion like any other.
 */
import type { Intent } from '../decide/observations.ts'
import type { Member } from './member.ts'

/** How long a former leader without a coordinator waits for what the others say before it leads again. */
const SETTLE_MS = 1000
/** A wish that came to nothing is made again. */
const WISH_MS = 5000

export class Beginning {
  readonly #me: Member
  readonly #startedAtMs: number
  #founds: boolean

  constructor(me: Member, founds: boolean) {
    this.#me = me
    this.#founds = founds
    this.#startedAtMs = me.now
  }

  /** Every tick. */
  look(): void {
    const { reign, promotion, intent } = this.#me
    if (reign !== undefined || promotion.phase !== 'idle' || intent.kind !== 'automatic') return
    const wish = this.#wish()
    if (wish !== undefined) this.#me.wish(wish, WISH_MS)
  }

  #wish(): Intent | undefined {
    const { settings, sight, ballot } = this.#me
    const { coordinator, self } = settings
    // With a coordinator only a founder begins by itself: nobody else need look at its log for that, each tick.
    if (coordinator !== undefined && !this.#founds) return undefined
    const { own } = this.#me
    const last = own.report.history.at(-1)
    if (last === undefined) return this.#foundingWish()
    if (coordinator !== undefined || last.leader !== self) return undefined
    if (ballot.promised !== undefined && ballot.promised.candidate !== self) return undefined
    const statuses = sight.statuses()
    const isSettled =
      statuses.length >= this.#me.others.length || this.#me.now - this.#startedAtMs >= SETTLE_MS
    const isReplaced = statuses.some(
      ([, { report, leads }]) =>
        leads !== undefined ||
        (report.promised?.epoch ?? 0) > last.number ||
        (report.history.at(-1)?.number ?? 0) > last.number,
    )
    if (!isSettled || isReplaced) return undefined
    return { kind: 'promote', target: self, acceptLoss: own.report.rules?.rule.of === undefined }
  }

  #foundingWish(): Intent | undefined {
    const { settings, sight } = this.#me
    if (!this.#founds) return undefined
    if (settings.coordinator !== undefined && (!sight.isCoordinatorReached || sight.held === undefined))
      return undefined
    if (sight.held?.state !== undefined) this.#founds = false
    // There is nothing yet that could be lost.
    return this.#founds ? { kind: 'promote', target: settings.self, acceptLoss: true } : undefined
  }
}
