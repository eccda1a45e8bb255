/**
 * `node.state`: what a directory is. Decides which cluster it belongs to, which generation of data is the current one,
 * and whether it ever led.
 *
 * One line `understudy-node 1 <crc32 of the rest, 8 hex digits>`, then JSON. The file is replaced as a whole (write
 * aside, sync, rename, sync the directory), so a crash leaves the old state or the new one. Valid only if:
 * 1. the first line names this format, in a version that is known;
 * 2. the checksum is that of the bytes after the first line;
 * 3. every field is there with its type.
 * The file is written before the first generation is made, so that data without it is never taken for a leftover.
 * A file that breaks 2 or 3, or is missing beside data, is STATE_CORRUPT and nothing is guessed: a wrong guess would wipe a leader.
 */
import { crc32 } from 'node:zlib'
import { join } from 'node:path'
import { UnderstudyError, type Files } from '@understudy/contracts'
import { hasGenerations } from './layout.ts'

export interface NodeState {
  /** 16 hexadecimal digits, given by the first leader; empty in a follower that has no data yet. */
  readonly cluster: string
  readonly node: string
  /** Number of the data directory in use; 0 while there is none. */
  readonly generation: number
  /** Whether this directory ever led: a bootstrap never wipes it then. */
  readonly led: boolean
}

const MAGIC = 'understudy-node'
const VERSION = 1
const FILE = 'node.state'

/** The state of `directory`, or `undefined` when it has none. Throws `STATE_CORRUPT`, `FORMAT_VERSION`. */
export function readNodeState(files: Files, directory: string): NodeState | undefined {
  const path = join(directory, FILE)
  if (!files.exists(path)) {
    if (!hasGenerations(files, directory)) return undefined
    throw corrupt(path, 'it is missing beside data')
  }
  const handle = files.open(path)
  const bytes = new Uint8Array(Math.min(handle.size(), 65_536))
  try {
    handle.read(bytes, 0)
  } finally {
    handle.close()
  }
  return decodeState(bytes, path)
}

/** Forgets what the directory is; durable when it returns. Its data must be removed next. */
export function removeNodeState(files: Files, directory: string): void {
  files.remove(join(directory, FILE))
  files.syncDirectory(directory)
}

/** Replaces the state; durable when it returns. */
export function writeNodeState(files: Files, directory: string, state: NodeState): void {
  const path = join(directory, FILE)
  const body = Buffer.from(`${JSON.stringify(state)}\n`)
  const head = Buffer.from(`${MAGIC} ${VERSION} ${hex(crc32(body))}\n`)
  const aside = `${path}.new`
  const handle = files.open(aside, { create: true, write: true })
  try {
    handle.truncate(0)
    handle.write([head, body], 0)
    handle.dataSyncNow()
  } finally {
    handle.close()
  }
  files.rename(aside, path)
  files.syncDirectory(directory)
}

function decodeState(bytes: Uint8Array, path: string): NodeState {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const end = text.indexOf(10)
  const [magic, version, checksum] = text.toString('latin1', 0, Math.max(end, 0)).split(' ')
  if (magic !== MAGIC || version === undefined || !/^[1-9]\d{0,3}$/.test(version))
    throw corrupt(path, 'it does not begin as one')
  if (Number(version) !== VERSION) {
    throw new UnderstudyError(
      'FORMAT_VERSION',
      `${path} has format version ${version}; this release reads version ${VERSION}. Nothing was changed. Use the release that wrote it, or a newer one.`,
    )
  }
  const body = text.subarray(end + 1)
  if (hex(crc32(body)) !== checksum) throw corrupt(path, 'its checksum does not match')
  const value = parseJson(body.toString('utf8'))
  if (!isNodeState(value)) throw corrupt(path, 'a field is missing or of the wrong type')
  return value
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
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
    typeof state.led === 'boolean'
  )
}

function corrupt(path: string, why: string): UnderstudyError {
  return new UnderstudyError(
    'STATE_CORRUPT',
    `${path} is damaged: ${why}. The data beside it was not touched. Restore the file from a copy, or move the whole directory away and let the node bootstrap again (followers only).`,
    { path },
  )
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0')
}
