/**
 * Retention slots: which records are kept for whom.
 *
 * Decides states and what may be deleted; deleting is `collect`'s. The states are PostgreSQL's (pg_replication_slots):
 * reserved (holds back at most `slotBytesNormal`), extended (more, up to `slotBytesMax`), unreserved (more than that: it
 * holds nothing back any more, but its records are still there, so its holder may catch up), lost (records were deleted).
 *
 * Validity: 1. a slot that is not lost is at `first - 1` or above; 2. what is on the disk is never above what is in
 * memory, so a crash only ever keeps more; 3. the slot `local` always holds back and is never lost.
 */
import {
  LOCAL_SLOT,
  UnderstudyError,
  type Lsn,
  type RetentionSlots,
  type Slot,
  type SlotState,
} from '@understudy/contracts'
import { truncated } from './failures.ts'
import { within } from './options.ts'
import type { StoredSlot } from './state-file.ts'

export const SLOT_NAME_BYTES_MAX = 255
export const SLOTS_MAX = 1024

/** What slots need to know of their log. */
export interface SlotHost {
  /** Oldest LSN of the log. */
  first(): Lsn
  bytesAfter(lsn: Lsn): number
  /** Makes these slots durable, or throws with the old ones in place. */
  persist(slots: ReadonlyMap<string, StoredSlot>): void
}

export interface SlotLimits {
  readonly slotBytesMax: number
  readonly slotBytesNormal: number
}

export class Slots implements RetentionSlots {
  readonly #host: SlotHost
  readonly #limits: SlotLimits
  #slots: Map<string, StoredSlot>
  #persisted: ReadonlyMap<string, StoredSlot>

  constructor(host: SlotHost, limits: SlotLimits, stored: ReadonlyMap<string, StoredSlot>) {
    this.#host = host
    this.#limits = limits
    this.#slots = new Map(stored)
    this.#persisted = stored
  }

  /** The slots as they are now, for the state file. */
  get current(): Map<string, StoredSlot> {
    return new Map(this.#slots)
  }

  /** Whether positions moved since they were last persisted. */
  get moved(): boolean {
    return [...this.#slots].some(([name, slot]) => slot.lsn !== this.#persisted.get(name)?.lsn)
  }

  /** Takes over what was just made durable. */
  replace(slots: ReadonlyMap<string, StoredSlot>): void {
    this.#slots = new Map(slots)
    this.#persisted = slots
  }

  reserve(name: string, lsn: Lsn): Slot {
    const bytes = Buffer.byteLength(name)
    within('the length of a slot name', bytes, 1, SLOT_NAME_BYTES_MAX)
    within('the position of a slot', lsn, 0)
    if (lsn < this.#host.first() - 1) throw truncated(lsn + 1, this.#host.first())
    const stored = this.#persisted.get(name)
    if (stored === undefined || stored.lost || lsn < stored.lsn) {
      within('the number of slots', this.#slots.size + (stored === undefined ? 1 : 0), 1, SLOTS_MAX)
      this.#commit(this.current.set(name, { lsn, lost: false }))
    } else {
      this.#slots.set(name, { lsn, lost: false })
    }
    return this.get(name)!
  }

  advance(name: string, lsn: Lsn): void {
    const slot = this.#known(name)
    if (slot.lost) {
      throw new UnderstudyError(
        'SLOT_LOST',
        `The slot ${JSON.stringify(name)} held back more than ${this.#limits.slotBytesMax} bytes and lost its records ` +
          `after ${slot.lsn}. The log is unchanged. Its holder must bootstrap again, then reserve the slot anew.`,
        { slot: name, lsn: slot.lsn },
      )
    }
    within('the position of a slot', lsn, 0)
    if (lsn > slot.lsn) this.#slots.set(name, { lsn, lost: false })
  }

  drop(name: string): void {
    this.#known(name)
    const slots = this.current
    slots.delete(name)
    this.#commit(slots)
  }

  get(name: string): Slot | undefined {
    const slot = this.#slots.get(name)
    if (slot === undefined) return undefined
    const heldBytes = slot.lost ? 0 : this.#host.bytesAfter(slot.lsn)
    const { slotBytesMax } = this.#limits
    const local = name === LOCAL_SLOT
    return {
      name,
      lsn: slot.lsn,
      state: this.#stateOf(slot, heldBytes, local),
      heldBytes,
      safeBytes: local ? undefined : slot.lost ? 0 : Math.max(0, slotBytesMax - heldBytes),
    }
  }

  list(): Slot[] {
    return [...this.#slots.keys()].sort().map((name) => this.get(name)!)
  }

  /** The lowest position of a slot that holds back; Infinity without one. */
  holding(): Lsn {
    let lowest = Infinity
    for (const [name, slot] of this.#slots) {
      if (slot.lost || slot.lsn >= lowest) continue
      const over = this.#host.bytesAfter(slot.lsn) > this.#limits.slotBytesMax
      if (name === LOCAL_SLOT || !over) lowest = slot.lsn
    }
    return lowest
  }

  /** The slots as they are once the log begins at `first`: those below it are lost. */
  losing(first: Lsn): Map<string, StoredSlot> {
    return mapSlots(this.#slots, (slot) => (slot.lsn < first - 1 ? { ...slot, lost: true } : slot))
  }

  /** The slots as they are once the log ends at `lsn`: none is above it. */
  lowered(lsn: Lsn): Map<string, StoredSlot> {
    return mapSlots(this.#slots, (slot) => ({ ...slot, lsn: Math.min(slot.lsn, lsn) }))
  }

  /** The slots as they are once the log is empty and ends at `lsn`: `local` moves there, those below are lost. */
  restarted(lsn: Lsn): Map<string, StoredSlot> {
    return mapSlots(this.#slots, (slot, name) => {
      if (name === LOCAL_SLOT) return { lsn, lost: false }
      return slot.lsn < lsn ? { ...slot, lost: true } : { ...slot, lsn }
    })
  }

  #stateOf(slot: StoredSlot, heldBytes: number, local: boolean): SlotState {
    if (slot.lost) return 'lost'
    if (heldBytes > this.#limits.slotBytesMax && !local) return 'unreserved'
    return heldBytes > this.#limits.slotBytesNormal ? 'extended' : 'reserved'
  }

  #known(name: string): StoredSlot {
    const slot = this.#slots.get(name)
    if (slot !== undefined) return slot
    throw new UnderstudyError(
      'SLOT_UNKNOWN',
      `There is no slot ${JSON.stringify(name)}; nothing changed. Reserve it first.`,
      { slot: name },
    )
  }

  #commit(slots: ReadonlyMap<string, StoredSlot>): void {
    this.#host.persist(slots)
    this.replace(slots)
  }
}

function mapSlots(
  slots: ReadonlyMap<string, StoredSlot>,
  change: (slot: StoredSlot, name: string) => StoredSlot,
): Map<string, StoredSlot> {
  return new Map([...slots].map(([name, slot]) => [name, change(slot, name)]))
}
