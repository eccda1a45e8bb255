/** One term of a leader that was promoted: what it is asked, and whom it tells when it is replaced. */
import { isUnderstudyError, type UnderstudyError } from '@understudy/contracts'
import type { EpochPromotion, PublishRules } from '@understudy/replication'

/** A leader that was promoted, and may be replaced. */
export interface LeadingTerm {
  readonly promotion: EpochPromotion
  /** It cannot prove the newest ceilings of ids. */
  readonly raiseIds: boolean
  /** Whether it may show anything right now. */
  readonly mayLead: () => boolean
  /** It may not, and shows nothing any more. */
  readonly stopped: (error: UnderstudyError) => void
  /** Ceilings of ids that a coordinator holds. */
  readonly ceilings?: ReadonlyMap<string, bigint> | undefined
  /** Rules of acks are published before they are in force. Rejects when they cannot be. */
  readonly publishRules: PublishRules
  /** A peer said that a higher epoch exists. */
  readonly sawEpoch: (epoch: number, runId: string | undefined) => void
}

/** Where errors that end a leader go: one that is replaced did not fail. */
export function endOf(
  term: LeadingTerm | undefined,
  failed: (error: UnderstudyError) => void,
): (error: UnderstudyError) => void {
  if (term === undefined) return failed
  return (error) => {
    const isReplaced = isUnderstudyError(error, 'LEASE_LOST') || isUnderstudyError(error, 'EPOCH_STALE')
    if (!isReplaced) return failed(error)
    if (error.code === 'EPOCH_STALE') tellEpoch(error, term)
    term.stopped(error)
  }
}

function tellEpoch({ details }: UnderstudyError, term: LeadingTerm): void {
  const { epoch, runId } = details
  if (typeof epoch === 'number') term.sawEpoch(epoch, typeof runId === 'string' ? runId : undefined)
}
