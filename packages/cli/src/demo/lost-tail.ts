/** What a former leader alone had, as the files say that it kept before it undid it. */
import type { Files } from '@understudy/contracts'
import { listLostTails, readLostTail } from '@understudy/failover'
import { nodeFiles } from '@understudy/log'
import { lostTailDirectory } from '@understudy/node'
import { allFormats } from '../formats.ts'

export interface LostTails {
  /** Records of all of them. */
  readonly records: number
  /** Rows that they changed. */
  readonly rows: number
  /** As `understudy lost-tail` takes them, oldest first. */
  readonly ids: readonly string[]
}

/** The lost tails in a node's directory. Throws `STATE_CORRUPT` for one that is not whole. */
export function readLostTails(directory: string, files: Files = nodeFiles()): LostTails {
  let records = 0
  let rows = 0
  const found = listLostTails(files, lostTailDirectory(directory))
  for (const { path } of found) {
    const { header, transactions } = readLostTail(files, path, allFormats())
    records += header.end.lsn - header.common.lsn
    for (const { changes } of transactions) rows += changes.length
  }
  return { records, rows, ids: found.map(({ id }) => id) }
}
