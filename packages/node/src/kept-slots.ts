/**
 * The log that a node keeps for others, in case that it leads them one day.
 *
 * Decides: which slots of a leader a follower keeps, too, so that whoever the leader could have gone on with, the next one can. Leaves
 * to others: what a slot holds back, when it is lost (log).
 */
import { LOCAL_SLOT, isUnderstudyError, type Log } from '@understudy/contracts'
import type { SlotPosition } from '@understudy/protocol'

/** The slots that the leader named now. One that it dropped is dropped here. */
export function keepSlots(log: Log, self: string, slots: readonly SlotPosition[]): void {
  if (log.failure !== undefined) return
  const named = new Map(slots.map(({ name, lsn }) => [name, lsn]))
  for (const { name } of log.slots.list()) if (name !== LOCAL_SLOT && !named.has(name)) log.slots.drop(name)
  for (const [name, lsn] of named) if (name !== LOCAL_SLOT && name !== self) keep(log, name, lsn)
}

/** From there on the log is kept for this node, as far as it reaches back. */
export function keep(log: Log, name: string, lsn: number): void {
  try {
    const upTo = Math.min(lsn, log.end.lsn)
    if (log.slots.get(name) === undefined) log.slots.reserve(name, Math.max(upTo, log.first - 1))
    else log.slots.advance(name, upTo)
  } catch (error) {
    // Nothing more can be kept for it: it will take a snapshot.
    if (!isUnderstudyError(error, 'SLOT_LOST') && !isUnderstudyError(error, 'LOG_TRUNCATED')) throw error
  }
}
