/**
 * The state file `log.state`: what is true of a log apart from its records.
 *
 * It holds the floor (first LSN kept), an LSN known to be durable, the retention slots, and the intent of a truncation
 * or reset that is under way, which `recover` finishes. It is replaced as a whole: a new file is written, synced and
 * renamed over the old one, then the directory is synced; a crash leaves the old or the new one.
 *
 * Layout, little-endian: 0 seal (magic UNDSTSTA, version 1, length, CRC) | 20 slots u32 | 24 floor u64 | 32 durable u64 |
 * 40 intent u32 (0 none, 1 truncate, 2 reset) | 44 intent CRC u32 | 48 intent LSN u64 | 56 intent epoch u64 |
 * 64 epochs of the intent u32 | 68 zero u32 | 72 epoch history | then each slot: lsn u64, lost u8, name length u8, name
 */
import path from 'node:path'
import {
  UnderstudyError,
  type EpochHistory,
  type Files,
  type LogPoint,
  type Lsn,
} from '@understudy/contracts'
import { getUint64, seal, SEAL_BYTES, sealKind, setUint64, unseal, viewOf } from './bytes.ts'
import { nameDurably } from './failures.ts'
import { decodeHistory, encodeHistory } from './history-codec.ts'

export const STATE_VERSION = 1
export const STATE_MAGIC = 'UNDSTSTA'
export const STATE_NAME = 'log.state'
/** The file that a replacement is written to; a leftover of a crash is removed at open. */
export const STATE_NEW_NAME = 'log.state.new'

const FIXED_BYTES = 72
const STATE_BYTES_MAX = 64 * 1024 * 1024

/** What has been decided but may not be carried out yet. */
export type Intent =
  | { readonly kind: 'truncate'; readonly lsn: Lsn }
  | { readonly kind: 'reset'; readonly point: LogPoint; readonly history: EpochHistory }

export interface StoredSlot {
  readonly lsn: Lsn
  readonly lost: boolean
}

export interface LogState {
  /** First LSN of the oldest segment that is kept; older files are remains of an interrupted `collect`. */
  readonly floor: Lsn
  /** Everything up to here had been synced when the file was written. */
  readonly durable: Lsn
  readonly slots: ReadonlyMap<string, StoredSlot>
  readonly intent: Intent | undefined
}

const KIND = { none: 0, truncate: 1, reset: 2 } as const

export function encodeState(state: LogState): Uint8Array {
  const { intent } = state
  const history = intent?.kind === 'reset' ? intent.history : []
  const encoded = encodeHistory(history)
  const slots = [...state.slots].map(([name, slot]) => ({ name: new TextEncoder().encode(name), slot }))
  const slotBytes = slots.reduce((sum, { name }) => sum + 10 + name.length, 0)
  const bytes = new Uint8Array(FIXED_BYTES + encoded.length + slotBytes)
  const view = viewOf(bytes)
  view.setUint32(20, slots.length, true)
  setUint64(view, 24, state.floor)
  setUint64(view, 32, state.durable)
  view.setUint32(40, KIND[intent?.kind ?? 'none'], true)
  if (intent?.kind === 'truncate') setUint64(view, 48, intent.lsn)
  if (intent?.kind === 'reset') {
    view.setUint32(44, intent.point.crc, true)
    setUint64(view, 48, intent.point.lsn)
    setUint64(view, 56, intent.point.epoch)
  }
  view.setUint32(64, history.length, true)
  bytes.set(encoded, FIXED_BYTES)
  let offset = FIXED_BYTES + encoded.length
  for (const { name, slot } of slots) {
    setUint64(view, offset, slot.lsn)
    bytes[offset + 8] = slot.lost ? 1 : 0
    bytes[offset + 9] = name.length
    bytes.set(name, offset + 10)
    offset += 10 + name.length
  }
  seal(bytes, STATE_MAGIC, STATE_VERSION)
  return bytes
}

/** `undefined` when the bytes are malformed. The seal was verified before. */
function decodeState(bytes: Uint8Array): LogState | undefined {
  if (bytes.length < FIXED_BYTES) return undefined
  const view = viewOf(bytes)
  const epochs = decodeHistory(bytes.subarray(FIXED_BYTES), view.getUint32(64, true))
  if (epochs === undefined) return undefined
  const slots = new Map<string, StoredSlot>()
  let offset = FIXED_BYTES + epochs.length
  for (let i = view.getUint32(20, true); i > 0; i--) {
    const end = offset + 10 + (bytes[offset + 9] ?? bytes.length)
    if (end > bytes.length) return undefined
    const name = new TextDecoder().decode(bytes.subarray(offset + 10, end))
    slots.set(name, { lsn: getUint64(view, offset), lost: bytes[offset + 8] === 1 })
    offset = end
  }
  const kind = view.getUint32(40, true)
  if (offset !== bytes.length || kind > KIND.reset) return undefined
  const lsn = getUint64(view, 48)
  const point = { epoch: getUint64(view, 56), lsn, crc: view.getUint32(44, true) }
  const intents = [
    undefined,
    { kind: 'truncate', lsn },
    { kind: 'reset', point, history: epochs.history },
  ] as const
  return { floor: getUint64(view, 24), durable: getUint64(view, 32), slots, intent: intents[kind] }
}

/** The state of the log in `directory`; `undefined` when it has no state file. Throws `STATE_CORRUPT` or `FORMAT_VERSION`. */
export function readState(files: Files, directory: string): LogState | undefined {
  const file = path.join(directory, STATE_NAME)
  if (!files.exists(file)) return undefined
  const handle = files.open(file)
  try {
    const bytes = new Uint8Array(Math.min(handle.size(), STATE_BYTES_MAX))
    const got = handle.read(bytes, 0)
    if (sealKind(bytes.subarray(0, Math.min(got, SEAL_BYTES)), STATE_MAGIC, STATE_VERSION) === 'newer') {
      throw new UnderstudyError(
        'FORMAT_VERSION',
        `${file} was written in a newer format version than ${STATE_VERSION}. It was kept as it is. Use the newer release.`,
        { file, versionMax: STATE_VERSION },
      )
    }
    const sound = got === bytes.length && unseal(bytes, STATE_MAGIC, STATE_VERSION) === 'sound'
    const state = sound ? decodeState(bytes) : undefined
    if (state === undefined) throw stateCorrupt(file, 'it fails its checksum or its schema')
    return state
  } finally {
    handle.close()
  }
}

export function stateCorrupt(file: string, what: string): UnderstudyError {
  return new UnderstudyError(
    'STATE_CORRUPT',
    `The state file ${file} of the log cannot be used: ${what}. It was kept as it is, and so were the segments, which ` +
      '`understudy log` can still read. Put back a sound copy of the directory, or bootstrap this node again.',
    { file },
  )
}

/** Replaces the state file; durable when it returns. On an error before the rename the old one stands. */
export function writeState(files: Files, directory: string, state: LogState): void {
  const temporary = path.join(directory, STATE_NEW_NAME)
  const bytes = encodeState(state)
  const handle = files.open(temporary, { create: true, write: true })
  try {
    handle.truncate(0)
    handle.write([bytes], 0)
    handle.dataSyncNow()
  } finally {
    handle.close()
  }
  nameDurably(files, temporary, path.join(directory, STATE_NAME), directory)
}
