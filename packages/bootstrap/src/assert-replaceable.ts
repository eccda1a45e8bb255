/**
 * May a bootstrap replace what a directory holds?
 *
 * Decides only from what it is given; reads nothing. The caller builds the new data beside the old and calls this
 * before it switches, and before it dials, so that a person is told early.
 *
 * Refused is a directory
 * 1. that leads or ever led (`led`): it may hold commits that no other node has;
 * 2. whose newest epoch was led by this very node, whatever `led` says: a state file that was restored from an old copy
 *    must not cost commits. An older epoch of its own does not count: a later leader's epoch in the same log proves
 *    that what is below is in the later history too.
 * `replaceLeader` allows both: a person decided that.
 */
import { UnderstudyError, type EpochHistory } from '@understudy/contracts'

export interface ReplaceableState {
  /** For the message. */
  readonly directory: string
  /** Name of the node that owns the directory. */
  readonly node: string
  /** Whether this directory is or ever was a leader's, by its state file. */
  readonly led: boolean
  /** Epoch history of the log in it; empty when it has none. */
  readonly history: EpochHistory
  /** A person said that it may be lost. Default false. */
  readonly replaceLeader?: boolean
}

/** Throws `DIRECTORY_OF_LEADER` unless the data of the directory may be replaced by a snapshot. */
export function assertReplaceable(state: ReplaceableState): void {
  if (state.replaceLeader === true) return
  const newest = state.history.at(-1)
  const ledNewest = newest !== undefined && newest.leader === state.node
  if (!state.led && !ledNewest) return
  const why = state.led
    ? 'it is or was a leader'
    : `it led epoch ${newest?.number ?? 0}, the newest in its log`
  throw new UnderstudyError(
    'DIRECTORY_OF_LEADER',
    `${state.directory} was not replaced by a snapshot, because ${why} and may hold commits that no other node has. Nothing in it was changed. Promote this node again if its data is the right one; otherwise keep a copy, then start with an empty directory or say explicitly that the data may be replaced.`,
    { directory: state.directory, node: state.node },
  )
}
