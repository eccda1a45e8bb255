/**
 * A small state in a file of its own: JSON under one line that names it and holds its checksum.
 *
 * `<magic> <version> <crc32 of the rest, 8 hex digits>`, a line feed, then JSON and a line feed. The file is replaced as a whole
 * (write aside, sync, rename, sync the directory), so a crash leaves the old state or the new one. Valid only if:
 * 1. the first line names this format, in a version that is known;
 * 2. the checksum is that of the bytes after the first line;
 * 3. what it holds is a state, as its owner says.
 */
import { crc32 } from 'node:zlib'
import { dirname } from 'node:path'
import { UnderstudyError, type Files } from '@understudy/contracts'

export interface StateFormat<S> {
  /** The first word of the file. */
  readonly magic: string
  readonly version: number
  /** Longest file that is read, in bytes. Default 65,536. */
  readonly bytesMax?: number
  isState(value: unknown): value is S
  /** What the message of `STATE_CORRUPT` ends with: what was kept, what to do. */
  readonly advice: string
}

/** The state in `path`; `undefined` when there is no such file. Throws `STATE_CORRUPT`, `FORMAT_VERSION`. */
export function readStateFile<S>(files: Files, path: string, format: StateFormat<S>): S | undefined {
  if (!files.exists(path)) return undefined
  const handle = files.open(path)
  const bytes = Buffer.alloc(Math.min(handle.size(), format.bytesMax ?? 65_536))
  try {
    handle.read(bytes, 0)
  } finally {
    handle.close()
  }
  return decodeState(bytes, path, format)
}

/** Replaces the state; durable when it returns. Throws what the disk throws: then the state is the old one. */
export function writeStateFile<S>(files: Files, path: string, format: StateFormat<S>, state: S): void {
  const body = Buffer.from(`${JSON.stringify(state)}\n`)
  const head = Buffer.from(`${format.magic} ${format.version} ${hex(crc32(body))}\n`)
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
  files.syncDirectory(dirname(path))
}

function corruptState(path: string, why: string, advice: string): UnderstudyError {
  return new UnderstudyError('STATE_CORRUPT', `${path} is damaged: ${why}. ${advice}`, { path })
}

function decodeState<S>(bytes: Buffer, path: string, format: StateFormat<S>): S {
  const corrupt = (why: string): UnderstudyError => corruptState(path, why, format.advice)
  const end = bytes.indexOf(10)
  const [magic, version, checksum] = bytes.toString('latin1', 0, Math.max(end, 0)).split(' ')
  if (magic !== format.magic || version === undefined || !/^[1-9]\d{0,3}$/.test(version))
    throw corrupt('it does not begin as one')
  if (Number(version) !== format.version) {
    throw new UnderstudyError(
      'FORMAT_VERSION',
      `${path} has format version ${version}; this release reads version ${format.version}. Nothing was changed. Use the release that wrote it, or a newer one.`,
    )
  }
  const body = bytes.subarray(end + 1)
  if (hex(crc32(body)) !== checksum) throw corrupt('its checksum does not match')
  const value = parseJson(body.toString('utf8'))
  if (!format.isState(value)) throw corrupt('a field is missing or of the wrong type')
  return value
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0')
}
