/**
 * Which state may follow which: what no revision protects, because whoever read the newest one may still be wrong.
 *
 * 1. The cluster stays. The epoch does not go down, and has one run id.
 * 2. Ceilings of ids do not go down, and none is missing that is not named as forgotten.
 */
import { UnderstudyError, type PublishedState } from '@understudy/contracts'

/** Throws `FOREIGN_CLUSTER`, `EPOCH_STALE`, `EPOCH_FORK` or `INVALID_ARGUMENT`. */
export function checkSuccession(
  before: PublishedState | undefined,
  next: PublishedState,
  forget: readonly string[] = [],
): void {
  if (before === undefined) return
  if (next.cluster !== before.cluster)
    throw new UnderstudyError(
      'FOREIGN_CLUSTER',
      `The coordinator holds the state of cluster ${before.cluster}, and this one is of ${next.cluster}. Nothing was changed; use another place for each cluster.`,
      { cluster: before.cluster },
    )
  if (next.epoch < before.epoch)
    throw new UnderstudyError(
      'EPOCH_STALE',
      `Epoch ${next.epoch} is below ${before.epoch}, which the cluster is in already. Nothing was changed.`,
      { epoch: before.epoch },
    )
  if (next.epoch === before.epoch && next.runId !== before.runId)
    throw new UnderstudyError(
      'EPOCH_FORK',
      `Epoch ${next.epoch} has the run id ${before.runId}, and somebody wants to publish it with ${next.runId}: two nodes led at once. Nothing was changed.`,
      { epoch: before.epoch, runId: before.runId },
    )
  for (const [table, ceiling] of before.ceilings) {
    const following = next.ceilings.get(table)
    if (following === undefined ? forget.includes(table) : following >= ceiling) continue
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `The highest id of table '${table}' that may have been given is ${ceiling}, and the new state says ${following ?? 'nothing'}: ids would be given twice. Nothing was changed.`,
      { table },
    )
  }
}
