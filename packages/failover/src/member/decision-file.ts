/**
 * The decisions of this node, a line each, for `failover explain`.
 *
 * Decides: where lines are, and how many are kept. Leaves to others: what a line says (record).
 *
 * A line is synced before what it decides is done. A disk that takes no line keeps nobody from deciding: that is told instead.
 */
import { join } from 'node:path'
import type { Files } from '@understudy/contracts'

const FILE = 'decisions.jsonl'
const OLDER = 'decisions.older.jsonl'
/** The file is put aside at this size, and the one that was put aside before is removed. */
const BYTES_MAX = 4 * 1024 * 1024

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
    if (this.#files.exists(path) && this.#files.size(path) + bytes.length > BYTES_MAX)
      this.#files.rename(path, join(this.#directory, OLDER))
    const handle = this.#files.open(path, { create: true, write: true })
    try {
      handle.write([bytes], handle.size())
      handle.dataSyncNow()
    } finally {
      handle.close()
    }
  }
}

/** The lines that are kept in a node's directory, oldest first. A last line that a crash cut off is left out. */
export function readDecisions(files: Files, directory: string): string[] {
  return [OLDER, FILE].flatMap((name) => {
    const path = join(directory, name)
    if (!files.exists(path)) return []
    const handle = files.open(path)
    try {
      const bytes = Buffer.alloc(handle.size())
      const length = handle.read(bytes, 0)
      const text = bytes.toString('utf8', 0, length)
      return text
        .slice(0, text.lastIndexOf('\n') + 1)
        .split('\n')
        .filter((line) => line !== '')
    } finally {
      handle.close()
    }
  })
}
