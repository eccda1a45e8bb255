/**
 * Writes a lost tail: what a node has above the common point, before any of it is undone.
 *
 * Decides: whether there is anything to keep, the name of the file. Leaves to others: when this happens, the bytes (`file-format.ts`).
 *
 * 1. The file is whole and durable, its name too, when the call returns; a crash before leaves an unfinished file that the next
 *    call replaces. Only then may the caller undo anything.
 * 2. The name comes from the positions, so that the same tail after a crash is the same file.
 * 3. Where the log no longer reaches back to the common point, the file says from where on it has the tail.
 * 4. A tail of nothing but the log's own records loses nothing, and makes no file.
 */
import { join } from 'node:path'
import { FORMAT_CONTROL, epochAt, type Files, type Log, type LogPoint } from '@understudy/contracts'
import {
  chained,
  encodeEnd,
  encodeHeader,
  encodeMagic,
  entryHead,
  recordParts,
  type LostTailHeader,
} from './file-format.ts'
import { isWholeLostTail, lostTailPath } from './files.ts'

export interface ExportLostTailOptions {
  readonly files: Files
  /** Where lost tails of this node are kept; made when missing. */
  readonly directory: string
  readonly log: Log
  readonly cluster: string
  readonly node: string
  /** The last record that both histories have. */
  readonly common: LogPoint
  /** The last record that is lost: the end of the log. */
  readonly end: LogPoint
  /** Last position known to have satisfied the ack rule. Default: only what the records say. */
  readonly highWatermark?: number
  /** Wall clock in milliseconds. */
  readonly nowMs: number
}

/**
 * Path of the file, durable when it returns; `undefined` when nothing is lost. Synchronous: it may take seconds for a very
 * long tail. Throws `DISK_FULL`, `READ_ONLY_DISK`, `STORAGE_FAILED`, or what reading the log throws; then nothing may be undone.
 */
export function exportLostTail(options: ExportLostTailOptions): string | undefined {
  const { files, directory, log, common, end } = options
  const path = lostTailPath(directory, common, end)
  const after = beginning(log, common)
  if (!holdsChanges(log, after, end)) return undefined
  if (files.exists(path) && isWholeLostTail(files, path)) return path
  files.makeDirectory(directory)
  const aside = `${path}.part`
  const { cluster, node, highWatermark, nowMs } = options
  const header: LostTailHeader = {
    cluster,
    node,
    common,
    ...(after.lsn > common.lsn && { after }),
    end,
    ...(highWatermark !== undefined && { highWatermark }),
    exportedAtMs: nowMs,
  }
  const handle = files.open(aside, { create: true, write: true })
  try {
    handle.truncate(0)
    let offset = 0
    let chain = 0
    let records = 0
    const write = (...parts: Uint8Array[]): void => {
      handle.write(parts, offset)
      for (const part of parts) offset += part.length
    }
    const entry = (...body: Uint8Array[]): void => {
      const { head, crc } = entryHead(body)
      write(head, ...body)
      chain = chained(chain, crc)
    }
    write(encodeMagic())
    entry(encodeHeader(header))
    for (const record of log.records(after.lsn + 1, end.lsn)) {
      entry(...recordParts(record))
      records += 1
    }
    entry(encodeEnd(records, chain))
    handle.dataSyncNow()
  } finally {
    handle.close()
  }
  files.rename(aside, path)
  files.syncDirectory(directory)
  files.syncDirectory(join(directory, '..'))
  return path
}

/** The common point, or the last record that the log has no more. */
function beginning(log: Log, common: LogPoint): LogPoint {
  const lsn = log.first - 1
  if (lsn <= common.lsn) return common
  return { epoch: epochAt(log.history, lsn)?.number ?? 0, lsn, crc: log.crcAt(lsn) ?? 0 }
}

function holdsChanges(log: Log, after: LogPoint, end: LogPoint): boolean {
  for (const { format } of log.records(after.lsn + 1, end.lsn)) if (format !== FORMAT_CONTROL) return true
  return false
}
