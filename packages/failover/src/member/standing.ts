/**
 * What other members ask of this node: stop taking records, go on, promise an epoch.
 *
 * Decides: when it goes on by itself. Leaves to others: whether a promise is given (voter), stopping (host).
 *
 * 1. Whoever stopped it last says when it goes on; when nothing comes of it, it goes on by itself.
 * 2. The answer to a request is a status, sent once the node stands still and its promise is durable.
 */
import type { Promised } from '../decide/observations.ts'
import { reasonOf } from './ballot.ts'
import type { Member } from './member.ts'
import type { Word } from './words.ts'

/** A member that was stopped goes on after so long, when the one that stopped it said nothing more. */
const FROZEN_MS_MAX = 3000

export class Standing {
  readonly #me: Member
  #frozen: { readonly by: string; readonly sinceMs: number } | undefined

  constructor(me: Member) {
    this.#me = me
  }

  /** Every tick: nobody waits for ever for somebody who went away. */
  look(): void {
    const { promotion, reign, now } = this.#me
    if (this.#frozen === undefined || now - this.#frozen.sinceMs <= FROZEN_MS_MAX) return
    if (promotion.phase === 'idle' || reign?.isOpen === true) this.#thaw()
  }

  /** Nobody stops it any more: it leads, or follows another one. */
  forget(): void {
    this.#frozen = undefined
  }

  /** Takes no records from now on, and tells whoever asked for it. */
  stop(by: string): void {
    const me = this.#me
    const frozen = (this.#frozen = { by, sinceMs: me.now })
    // It may go on by the time that it is its turn.
    me.onHost((host) => (this.#frozen === frozen ? host.freeze() : Promise.resolve())).then(
      () => this.#answer(by),
      (error: unknown) => this.#refuse(by, undefined, reasonOf(error)),
    )
  }

  resume(by: string): void {
    if (this.#frozen?.by === by) this.#thaw()
  }

  /** Asked for a promise; by this node as well. */
  asked(from: string, promise: Promised, isPlanned: boolean): void {
    const me = this.#me
    const { name } = me.sight.leader(me.own)
    const hears =
      me.reign?.isOpen === true ||
      (name !== undefined &&
        name !== me.settings.self &&
        me.detector.suspicion(name, me.now).state === 'alive')
    if (me.report().logDamaged) return this.#refuse(from, promise.runId, 'its log is damaged')
    const vote = me.ballot.ask({ ...promise, isPlanned }, me.now, hears)
    if (!vote.granted) return this.#refuse(from, promise.runId, vote.reason)
    this.stop(from)
  }

  /** To itself as to another one. */
  say(to: string, word: Extract<Word, { kind: 'stop' | 'resume' | 'ask' }>): void {
    const { self } = this.#me.settings
    if (to !== self) this.#me.links.send(to, word)
    else if (word.kind === 'stop') this.stop(self)
    else if (word.kind === 'resume') this.resume(self)
    else this.asked(self, word.promise, word.isPlanned)
  }

  #thaw(): void {
    this.#frozen = undefined
    this.#me.host?.thaw()
  }

  #answer(to: string): void {
    if (to === this.#me.settings.self) return this.#me.observe()
    this.#me.links.send(to, this.#me.status())
  }

  #refuse(to: string, runId: string | undefined, reason: string): void {
    const me = this.#me
    const said = { kind: 'refused', reason, ...(runId !== undefined && { runId }) } as const
    if (to !== me.settings.self) return void me.links.send(to, said)
    me.step({ ...said, name: to })
    me.observe()
  }
}
