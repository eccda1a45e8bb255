/**
 * Whom a leader with a lease has around it: whether those without whom it acknowledges nothing have left it.
 *
 * Decides: since when. Leaves to others: who has left (abandoned), giving up (Member).
 *
 * 1. Without a rule of acks it answers alone, and nobody could replace it without a loss: then nobody is missed. Nor while its rule is lowered.
 * 2. A stop of its own is no sign of others: it starts to count anew.
 * 3. Who gave up for this does not come back by itself before they do: it would only take the lease from those who can go on.
 */
import { leftBy } from '../abandoned.ts'
import type { Member } from './member.ts'

export class Company {
  readonly #me: Member
  #sinceMs: number | undefined

  constructor(me: Member) {
    this.#me = me
  }

  /** Why it gives up, once it was left for so long. */
  leftFor(ms: number): string | undefined {
    const { now, detector, settings } = this.#me
    const left = this.left()
    if (left.length === 0 || detector.stalled(now)) this.#sinceMs = undefined
    else this.#sinceMs ??= now
    if (this.#sinceMs === undefined || now - this.#sinceMs < ms) return undefined
    this.#sinceMs = undefined
    return `${left.join(', ')} did not follow ${settings.self} for ${ms} ms`
  }

  /** Who has left; nobody where none has to acknowledge. */
  left(): string[] {
    if (this.#me.report().rules?.rule.of === undefined) return []
    const published = this.#me.sight.held?.state?.acks
    if (published?.next !== undefined && published.next.of === undefined) return []
    const { now, detector, sight, others, settings } = this.#me
    const said = new Map(sight.statuses())
    const peers = others.map((name) => {
      const view = said.get(name)?.view
      // One that was stopped itself heard nobody.
      const hears = view === undefined ? {} : { hears: view.hears || view.stalled }
      return { name, suspicion: detector.suspicion(name, now), ...hears }
    })
    return leftBy(peers, settings.quorum)
  }
}
