/**
 * What a follower keeps of its log for others: so that it can serve, once it leads, every follower that its leader could.
 *
 * Decides: which slots a follower has, and where. Leaves to others: what a slot costs, and when it is lost (the log).
 *
 * 1. A follower has a slot for each one of its leader's, but for its own and the leader's `local`: at the leader's position or, where its log
 *    does not reach that far back, at its beginning. Another slot is dropped: its holder was forgotten, or lost it.
 * 2. The leader has everything that came from it. It may come back as a follower, so its slot is the end of this log.
 * 3. A slot that this log lost is taken anew only when the log reaches back to it again.
 */
import { LOCAL_SLOT, type Log, type Lsn } from '@understudy/contracts'
import type { SlotPosition } from '@understudy/protocol'

export interface HeldFor {
  /** Name of this node. */
  readonly node: string
  /** Name of the leader whose slots they are. */
  readonly leader: string
}

/** Brings the slots of a follower's log in line with its leader's. Throws what the log throws when it cannot be written. */
export function holdForOthers(log: Log, slots: readonly SlotPosition[], { node, leader }: HeldFor): void {
  const wanted = new Map<string, Lsn>()
  for (const { name, lsn } of slots)
    if (name !== node && name !== LOCAL_SLOT) wanted.set(name, Math.min(lsn, log.durable))
  if (leader !== node && leader !== '') wanted.set(leader, log.durable)
  for (const { name } of log.slots.list()) if (name !== LOCAL_SLOT && !wanted.has(name)) log.slots.drop(name)
  for (const [name, lsn] of wanted) hold(log, name, lsn)
}

function hold(log: Log, name: string, lsn: Lsn): void {
  const slot = log.slots.get(name)
  const reached = Math.max(lsn, log.first - 1)
  if (slot === undefined) log.slots.reserve(name, reached)
  else if (slot.state === 'lost') {
    if (lsn === reached) log.slots.reserve(name, lsn)
  } else if (reached < slot.lsn) log.slots.reserve(name, reached)
  else log.slots.advance(name, reached)
}
