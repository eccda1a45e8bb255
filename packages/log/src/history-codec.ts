/**
 * Epoch histories as bytes, in segment headers and in the state file.
 *
 * An entry, little-endian: number u64 | run id 8 bytes | first LSN u64 | CRC before u32 | name length u16 | name UTF-8.
 * Validity: numbers and first LSNs grow strictly from entry to entry, all from 1.
 */
import { UnderstudyError, type EpochEntry, type EpochHistory } from '@understudy/contracts'
import { getUint64, setUint64, viewOf } from './bytes.ts'

const ENTRY_BYTES = 30

export function encodeHistory(history: EpochHistory): Uint8Array {
  const names = history.map((entry) => new TextEncoder().encode(entry.leader))
  const bytes = new Uint8Array(names.reduce((sum, name) => sum + ENTRY_BYTES + name.length, 0))
  const view = viewOf(bytes)
  let offset = 0
  history.forEach((entry, i) => {
    const name = names[i]!
    setUint64(view, offset, entry.number)
    bytes.set(Buffer.from(entry.runId, 'hex'), offset + 8)
    setUint64(view, offset + 16, entry.firstLsn)
    view.setUint32(offset + 24, entry.crcBefore, true)
    view.setUint16(offset + 28, name.length, true)
    bytes.set(name, offset + ENTRY_BYTES)
    offset += ENTRY_BYTES + name.length
  })
  return bytes
}

/** Reads `count` entries; returns them and the bytes they took, `undefined` when they are malformed. */
export function decodeHistory(
  bytes: Uint8Array,
  count: number,
): { readonly history: EpochHistory; readonly length: number } | undefined {
  const view = viewOf(bytes)
  const history: EpochEntry[] = []
  let offset = 0
  for (let i = 0; i < count; i++) {
    if (offset + ENTRY_BYTES > bytes.length) return undefined
    const end = offset + ENTRY_BYTES + view.getUint16(offset + 28, true)
    if (end > bytes.length) return undefined
    history.push({
      number: getUint64(view, offset),
      runId: Buffer.from(bytes.subarray(offset + 8, offset + 16)).toString('hex'),
      leader: new TextDecoder().decode(bytes.subarray(offset + ENTRY_BYTES, end)),
      firstLsn: getUint64(view, offset + 16),
      crcBefore: view.getUint32(offset + 24, true),
    })
    offset = end
  }
  return isHistory(history) ? { history, length: offset } : undefined
}

/** Throws `INVALID_ARGUMENT` for what is no epoch history, or one that begins after `lsn`. */
export function checkHistory(history: EpochHistory, lsn: number): void {
  if (isHistory(history) && history.every((entry) => entry.firstLsn <= lsn)) return
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `The epoch history is not one that ends at or before record ${lsn}; the log is unchanged.`,
    { history },
  )
}

function isHistory(history: EpochHistory): boolean {
  return history.every((entry, i) => {
    const previous = history[i - 1] ?? { number: 0, firstLsn: 0 }
    return (
      Number.isSafeInteger(entry.number) &&
      entry.number > previous.number &&
      Number.isSafeInteger(entry.firstLsn) &&
      entry.firstLsn > previous.firstLsn &&
      /^[0-9a-f]{16}$/.test(entry.runId)
    )
  })
}
