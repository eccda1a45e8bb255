/**
 * Tells when a retention slot no longer keeps the log for its follower, and when it does again.
 *
 * Decides: which changes are news: those to and from `unreserved` and `lost`. Leaves to others: when to look, which is after each
 * checkpoint, when the log may have been cut.
 */
import type { Slot, SlotState } from '@understudy/contracts'

export class SlotWatch {
  readonly #changed: (slot: Slot) => void
  #known = new Map<string, SlotState>()

  constructor(changed: (slot: Slot) => void) {
    this.#changed = changed
  }

  look(slots: readonly Slot[]): void {
    const before = this.#known
    this.#known = new Map(slots.map(({ name, state }) => [name, state]))
    for (const slot of slots) {
      const was = before.get(slot.name) ?? 'reserved'
      if (was !== slot.state && (isLetGo(was) || isLetGo(slot.state))) this.#changed(slot)
    }
  }
}

function isLetGo(state: SlotState): boolean {
  return state === 'unreserved' || state === 'lost'
}
