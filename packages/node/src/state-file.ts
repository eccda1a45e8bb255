/**
 * `node.state`: what a directory is. Decides which cluster it belongs to, which generation of data is the current one,
 * and whether it ever led.
 *
 * One state file (`readStateFile` of `failover` has its form), replaced as a whole, so that a crash leaves the old state or the new one.
 * It is written before the first generation is made, so that data without it is never taken for a leftover.
 * A file that is damaged, or missing beside data, is STATE_CORRUPT and nothing is guessed: a wrong guess would wipe a leader.
 */
import { join } from 'node:path'
import { UnderstudyError, type Files } from '@understudy/contracts'
import { readStateFile, writeStateFile, type StateFormat } from '@understudy/failover'
import { hasGenerations } from './layout.ts'

export interface NodeState {
  /** 16 hexadecimal digits, given by the first leader; empty in a follower that has no data yet. */
  readonly cluster: string
  readonly node: string
  /** Number of the data directory in use; 0 while there is none. */
  readonly generation: number
  /** Whether this directory ever led: a bootstrap never wipes it then. */
  readonly led: boolean
  /** A snapshot replaced a log that may have held more, and what a leader has since was not caught up with yet: it may lack what it acknowledged. */
  readonly owes?: boolean
}

const FILE = 'node.state'
const FORMAT: StateFormat<NodeState> = {
  magic: 'understudy-node',
  version: 1,
  isState: isNodeState,
  advice:
    'The data beside it was not touched. Restore the file from a copy, or move the whole directory away and let the node bootstrap again (followers only).',
}

/** The state of `directory`, or `undefined` when it has none. Throws `STATE_CORRUPT`, `FORMAT_VERSION`. */
export function readNodeState(files: Files, directory: string): NodeState | undefined {
  const path = join(directory, FILE)
  const state = readStateFile(files, path, FORMAT)
  if (state === undefined && hasGenerations(files, directory))
    throw new UnderstudyError(
      'STATE_CORRUPT',
      `${path} is damaged: it is missing beside data. ${FORMAT.advice}`,
      { path },
    )
  return state
}

/** Forgets what the directory is; durable when it returns. Its data must be removed next. */
export function removeNodeState(files: Files, directory: string): void {
  files.remove(join(directory, FILE))
  files.syncDirectory(directory)
}

/** Replaces the state; durable when it returns. */
export function writeNodeState(files: Files, directory: string, state: NodeState): void {
  writeStateFile(files, join(directory, FILE), FORMAT, state)
}

function isNodeState(value: unknown): value is NodeState {
  if (typeof value !== 'object' || value === null) return false
  const state = value as Partial<Record<keyof NodeState, unknown>>
  return (
    typeof state.cluster === 'string' &&
    typeof state.node === 'string' &&
    Number.isSafeInteger(state.generation) &&
    Number(state.generation) >= 0 &&
    (/^[0-9a-f]{16}$/.test(state.cluster) || (state.cluster === '' && state.generation === 0)) &&
    typeof state.led === 'boolean' &&
    (state.owes === undefined || typeof state.owes === 'boolean')
  )
}
