/**
 * Whether a leader has been left by those without whom it acknowledges nothing.
 *
 * A lease says who may lead, not that anybody hears it: a leader that is cut off from its followers, and not from the coordinator, would keep it for ever,
 * with writes that wait. So it gives the lease back, and those who hear each other can go on.
 *
 * Decides: who has left it. Leaves to others: for how long that must be so, and giving up.
 *
 * Validity conditions:
 * 1. As many must have left as must agree that it is dead: fewer could not replace it.
 * 2. Who refuses connections has no process that could lead, and has not left: a leader whose followers are all down goes on, and waits for them.
 *    Nor has one that was never heard: a cluster begins with one node.
 * 3. Who is heard, and says that it does not hear the leader, has left.
 */
import { neededOf, type ConfirmQuorum } from './confirm.ts'
import type { Suspicion } from './detector/detector.ts'

/** A member as its leader sees it. */
export interface Peer {
  readonly name: string
  readonly suspicion: Pick<Suspicion, 'state' | 'cause' | 'silentMs'>
  /** What it said last, lately, of whether it hears the leader; absent: nothing. */
  readonly hears?: boolean
}

/** Their names; none while the leader is not to give up. */
export function leftBy(peers: readonly Peer[], quorum: ConfirmQuorum): string[] {
  const left = peers.filter(({ suspicion, hears }) => {
    if (suspicion.state === 'alive') return hears === false
    return suspicion.cause !== 'connection-refused' && suspicion.silentMs < Infinity
  })
  return left.length >= neededOf(quorum, peers.length) ? left.map(({ name }) => name) : []
}
