/**
 * What this node says of a receipt.
 *
 * Decides: what it knows of acks: a leader that of its pipeline, a follower that of its log and its leader. Leaves to others: the verdict (replication).
 */
import type { ReceiptReference, ReceiptVerdict } from '@understudy/contracts'
import { acknowledgedOnFollower, checkedReceipt, verdictOf } from '@understudy/replication'
import { closedError, type ReadSource } from './reads.ts'

export function verdictAt(
  source: ReadSource,
  cluster: string,
  acknowledged: number | undefined,
  receipt: ReceiptReference,
): ReceiptVerdict {
  if (source.isClosing()) throw closedError(source.name)
  const reference = checkedReceipt(receipt)
  const view = source.following()?.view
  const log = (source.data() ?? view?.data)?.log
  if (log === undefined) return { verdict: 'unknown', reason: 'the node has no log yet' }
  const told = view?.following.report().highWatermark ?? 0
  return verdictOf(reference, {
    cluster,
    history: log.history,
    end: log.end,
    crcAt: (lsn) => log.crcAt(lsn),
    acknowledged: acknowledged ?? acknowledgedOnFollower(log, told),
  })
}
