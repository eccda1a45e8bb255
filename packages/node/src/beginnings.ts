/**
 * What a directory begins as: a leader's or a follower's, for the first time or again.
 *
 * Decides: whether a directory may be started in a role, what is made in it before the data is opened. Leaves to others: opening, leading,
 * following.
 *
 * 1. A directory belongs to one node of one cluster, and a leader's is never overwritten unless that was said.
 * 2. What a first start of a leader makes counts only once it leads: `state` says so last, and `forgetBeginning` undoes the rest.
 */
import { UnderstudyError, randomId } from '@understudy/contracts'
import { importDatabase } from '@understudy/sqlite'
import {
  checkSidecar,
  generationPaths,
  noteSidecar,
  removeOtherGenerations,
  type GenerationPaths,
} from './layout.ts'
import { throwIfAborted, type Settings } from './options.ts'
import { removeNodeState, writeNodeState, type NodeState } from './state-file.ts'

/** Throws `INVALID_ARGUMENT` when the directory is another node's, or a follower's that is to lead. */
export function checkState(settings: Settings, state: NodeState): void {
  const { directory, role, replaceLeader } = settings
  // All of it is to be replaced, its name too: another node may lead under that name by now.
  if (state.led && replaceLeader === true) return
  checkOwner(settings, state)
  // Nothing is in it yet: an interrupted first start of whatever it was to be.
  if (state.generation > 0 && role === 'leader' && !state.led) {
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `${directory} belongs to a follower of cluster ${state.cluster}; starting it as a leader would part it from its cluster. Nothing was changed. Start it with the address of its leader.`,
    )
  }
}

/** Throws `INVALID_ARGUMENT` when the directory is another node's. */
export function checkOwner({ directory, name }: Settings, state: NodeState): void {
  if (state.generation === 0) return
  if (state.node !== name) {
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `${directory} belongs to node ${state.node}, not to ${name}; nothing was changed. Use its name, or another directory.`,
    )
  }
}

/** The state that a leader starts with, a new cluster's at its first start. Throws `INVALID_ARGUMENT`. */
export function leaderState(
  { directory, name, importFrom, random }: Settings,
  stored: NodeState | undefined,
): { readonly state: NodeState; readonly isFirst: boolean } {
  if (stored === undefined || stored.generation === 0)
    return { state: { cluster: randomId(random), node: name, generation: 1, led: true }, isFirst: true }
  if (importFrom !== undefined) {
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `${directory} holds the data of node ${name} already; nothing was imported. Start without the import, or give an empty directory.`,
    )
  }
  return { state: stored, isFirst: false }
}

/** Makes the directory of a leader ready for its data, with what it imports. Throws what importing throws, `ABORTED`. */
export async function prepareLeader(
  settings: Settings,
  state: NodeState,
  isFirst: boolean,
): Promise<GenerationPaths> {
  const { files, directory, importFrom, sidecar, setup } = settings
  const paths = generationPaths(directory, state.generation, sidecar)
  if (!isFirst) {
    checkSidecar(files, paths.directory, sidecar)
    return paths
  }
  writeNodeState(files, directory, { ...state, generation: 0, led: false })
  // What an interrupted first start left: nothing was ever acknowledged from it.
  removeOtherGenerations(files, directory, [])
  files.makeDirectory(paths.directory)
  if (sidecar !== undefined) noteSidecar(files, paths.directory, sidecar)
  if (importFrom !== undefined) await importDatabase({ from: importFrom, to: paths.database, setup })
  throwIfAborted(settings)
  return paths
}

/** Removes what a first start of a leader made that did not come to its end. */
export function forgetBeginning({ files, directory, name }: Settings): void {
  writeNodeState(files, directory, { cluster: '', node: name, generation: 0, led: false })
  removeOtherGenerations(files, directory, [])
  removeNodeState(files, directory)
}

/** The state that a follower starts with. Throws `DIRECTORY_OF_LEADER`. */
export function followerState(
  { files, directory, name, replaceLeader, rejoin }: Settings,
  stored: NodeState | undefined,
  mayRejoin: boolean = rejoin === true,
): NodeState {
  if (stored?.led === true && replaceLeader !== true && !mayRejoin) {
    throw new UnderstudyError(
      'DIRECTORY_OF_LEADER',
      `${directory} was a leader's and may hold commits that no other node has; nothing in it was changed. Start it with role 'leader', or with rejoin: what it alone has is then kept in a file of its own.`,
      { directory },
    )
  }
  if (stored !== undefined && stored.generation > 0) return stored
  const state = { cluster: '', node: name, generation: 0, led: false }
  writeNodeState(files, directory, state)
  return state
}
