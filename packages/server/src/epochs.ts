/**
 * Whether a node may still do what a client asks, by the epochs that both have seen.
 *
 * Decides: a leader that was replaced, and does not know it yet, is told by any client that does; it writes nothing for it, and shows
 * it nothing. Leaves to the client: refusing what such a leader has answered already.
 */
import { UnderstudyError, type EpochStamp } from '@understudy/contracts'
import type { RequestBody } from '@understudy/protocol'

/** What an old leader must not answer. The rest says which node it is of, or is asked of one node on purpose. */
const FENCED: ReadonlySet<RequestBody['kind']> = new Set<RequestBody['kind']>([
  'write',
  'read',
  'mark',
  'reach',
  'forget',
  'switchFormat',
  'setAcks',
  'begin',
  'run',
  'open',
  'fetch',
])

/** Throws `EPOCH_STALE`, or `EPOCH_FORK` where both know another run of one number. */
export function assertCurrent(body: RequestBody, seen: EpochStamp, own: EpochStamp | undefined): void {
  // Whatever a node is, what it rolls back it need not keep.
  const isFenced = body.kind === 'end' ? body.commit : FENCED.has(body.kind)
  if (!isFenced) return
  const number = own?.number ?? 0
  if (seen.number > number)
    throw new UnderstudyError(
      'EPOCH_STALE',
      `The client has seen epoch ${seen.number}, and this node knows ${number} as the newest: it was replaced, or is behind. Nothing was done; ask the leader of now.`,
      { epoch: number, seen: seen.number },
    )
  if (seen.number === number && own !== undefined && own.runId !== seen.runId)
    throw new UnderstudyError(
      'EPOCH_FORK',
      `The client has seen epoch ${number} of run ${seen.runId}, this node of run ${own.runId}: two nodes were promoted. Nothing was done; decide which of them goes on.`,
      { epoch: number },
    )
}
