/**
 * The decisions of this node, a line each, for `failover explain`.
 *
 * Decides: where lines are, and how many are kept. Leaves to others: what a line says (record).
 *
 * A line is synced before what it decides is done. A disk that takes no line keeps nobody from deciding: that is told instead.
 */
import { join } from 'node:path'
import type { FileHandle, Files } from '@understudy/contracts'

const FILE = 'decisions.jsonl'
const OLDER = 'decisions.older.jsonl'
/** The file is put aside at this size, and the one that was put aside before is removed. */
const BYTES_MAX = 4 * 1024 * 1024
const LINE_END = 10

function lastByte(handle: FileHandle, size: number): number | undefined {
  const byte = Buffer.alloc(1)
  handle.read(byte, size - 1)
  return byte[0]
}

export class DecisionFile {
  readonly #files: Files
  readonly #directory: string

  constructor(files: Files, directory: string) {
    this.#files = files
    this.#directory = directory
  }

  /** Durable when it returns. Throws what the disk throws. */
  append(line: string): void {
    const path = join(this.#directory, FILE)
    const bytes = Buffer.from(`${line}\n`)
    let isNew = !this.#files.exists(path)
    if (!isNew && this.#files.size(path) + bytes.length > BYTES_MAX) {
      this.#files.rename(path, join(this.#directory, OLDER))
      isNew = true
    }
    const handle = this.#files.open(path, { create: true, write: true })
    try {
      const size = handle.size()
      // What a crash cut off must not become the begin of this line.
      const isCut = size > 0 && lastByte(handle, size) !== LINE_END
      handle.write(isCut ? [Buffer.of(LINE_END), bytes] : [bytes], size)
      handle.dataSyncNow()
      if (isNew) this.#files.syncDirectory(this.#directory)
    } finally {
      handle.close()
    }
  }
}

/**
 * The lines that are kept in a node's directory, oldest first; with `bytesMax` the newest ones that fit into it. A last line that a
 * crash cut off is left out.
 */
export function readDecisions(files: Files, directory: string, bytesMax: number = Infinity): string[] {
  const newer = lastLines(files, join(directory, FILE), bytesMax)
  const older = newer.isWhole ? lastLines(files, join(directory, OLDER), bytesMax - newer.bytes) : undefined
  return [...(older?.lines ?? []), ...newer.lines]
}

interface LastLines {
  readonly lines: readonly string[]
  /** That they take in the file. */
  readonly bytes: number
  /** They are all that the file has. */
  readonly isWhole: boolean
}

function lastLines(files: Files, path: string, bytesMax: number): LastLines {
  if (!files.exists(path)) return { lines: [], bytes: 0, isWhole: true }
  const handle = files.open(path)
  try {
    const size = handle.size()
    // One byte more, which tells whether the first line begins there.
    const from = Math.max(0, size - bytesMax - 1)
    const bytes = Buffer.alloc(size - from)
    const length = handle.read(bytes, from)
    const begin = from === 0 ? 0 : bytes.indexOf(LINE_END) + 1
    const end = bytes.lastIndexOf(LINE_END, length - 1) + 1
    const text = begin < end ? bytes.toString('utf8', begin, end) : ''
    const lines = text.split('\n').filter((line) => line !== '')
    return fitting({ lines, bytes: Math.max(0, end - begin), isWhole: from === 0 }, bytesMax)
  } finally {
    handle.close()
  }
}

/** A file that is one byte larger is read from its begin all the same. */
function fitting(found: LastLines, bytesMax: number): LastLines {
  const [first, ...lines] = found.lines
  if (found.bytes <= bytesMax || first === undefined) return found
  return { lines, bytes: found.bytes - Buffer.byteLength(first) - 1, isWhole: false }
}
