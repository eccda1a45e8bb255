/** Counts of what happened, so that a run can show that the rare things did ("sometimes" assertions). */
export const RARE_EVENTS = [
  'write acknowledged',
  'write refused',
  'write of unknown outcome',
  'write sent again',
  'write answered by its key',
  'receipt called committed',
  'transaction in parts',
  'marker seen',
  'leader restarted with redo',
  'follower restarted with redo',
  'unsynced tail lost',
  'unfinished chain cut',
  'segments collected',
  'log spread over segments',
  'slot lost',
  'bootstrap after a lost slot',
  'snapshot resumed',
  'reconnected inside a transaction',
  'peer found silent',
  'sync failed',
  'crash during bootstrap',
  'base logged',
  'crash between COMMIT and append',
  'transaction logged after a crash',
  'format switched',
  'group given to another format',
  'follower at a base needs a snapshot',
  'bootstrap after a base',
  'write not acked in time',
  'end of the log hidden at a restart',
  'end of the log hidden on a follower',
  'ack rule lowered',
  'ack rule raised',
  'ack rule changed',
  'write with a rule of its own',
  'started in the middle of a change',
  'set replaced a member',
] as const
/** Those that only an ack rule brings. */
export const ACK_EVENTS: readonly (typeof RARE_EVENTS)[number][] = RARE_EVENTS.slice(-9)
export type RareEvent = (typeof RARE_EVENTS)[number]

export class Tally {
  readonly #counts = new Map<RareEvent, number>(RARE_EVENTS.map((event) => [event, 0]))

  add(event: RareEvent, count = 1): void {
    this.#counts.set(event, this.of(event) + count)
  }

  of(event: RareEvent): number {
    return this.#counts.get(event) ?? 0
  }

  include(other: Tally): void {
    for (const [event, count] of other.#counts) this.add(event, count)
  }

  get missing(): RareEvent[] {
    return RARE_EVENTS.filter((event) => this.of(event) === 0)
  }

  get lines(): string[] {
    return RARE_EVENTS.map((event) => `${String(this.of(event)).padStart(10)}  ${event}`)
  }
}
