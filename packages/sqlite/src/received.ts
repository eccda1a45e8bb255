/**
 * Looks into a database file that came from a peer, before a node uses it.
 *
 * Decides: whether the file is what was announced, whole, and harmless to what is the node's own. Leaves to others: the
 * digest, which the receiver compares first (`bootstrap`); what the rows say.
 *
 * 1. The header is read before SQLite sees the file: its sizes are those that were announced.
 * 2. SQLite sees it in a thread of its own (`received-worker.ts`), which writes nothing and makes no file.
 * 3. No connection of this process uses the file, and none begins to before the promise settles: the thread closes a
 *    descriptor of it, which drops the locks of the process. So an abort waits for the thread too.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { UnderstudyError, type LogPoint } from '@understudy/contracts'
import { DATABASE_HEADER_BYTES, readDatabaseHeader } from '@understudy/sqlite-files'
import { OWN_TABLE_PREFIX } from './guard.ts'
import { POSITION_TABLE } from './position.ts'
import type { Finding, Inspection } from './received-worker.ts'

/** What the peer said of the file. */
export interface AnnouncedDatabase {
  readonly pageBytes: number
  readonly totalBytes: number
  readonly point: LogPoint
}

/**
 * Rejects with `DATABASE_UNSUITABLE` unless the file at `path` is a whole database as announced, or with `ABORTED`. It is
 * only read.
 */
export async function checkReceived(
  path: string,
  announced: AnnouncedDatabase,
  signal?: AbortSignal,
): Promise<void> {
  const wrong = wrongHeader(path, announced) ?? wrongContent(await inspected(path, signal), announced.point)
  if (wrong === undefined) return
  throw new UnderstudyError(
    'DATABASE_UNSUITABLE',
    `The database that was received as ${path} is not used: ${wrong}. What the node had before is untouched. Check the ` +
      `node that sent it ("PRAGMA integrity_check" on its database), and whether it is one of yours.`,
    { path, position: announced.point },
  )
}

function wrongHeader(path: string, { pageBytes, totalBytes }: AnnouncedDatabase): string | undefined {
  let bytes = new Uint8Array(DATABASE_HEADER_BYTES)
  const descriptor = openSync(path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0))
  try {
    const { size } = fstatSync(descriptor)
    if (size !== totalBytes) return `it has ${size} bytes, ${totalBytes} were announced`
    bytes = bytes.subarray(0, readSync(descriptor, bytes, 0, bytes.length, 0))
  } finally {
    closeSync(descriptor)
  }
  try {
    const header = readDatabaseHeader(bytes)
    if (header.pageBytes !== pageBytes)
      return `its pages have ${header.pageBytes} bytes, ${pageBytes} were announced`
    if (!header.wal) return 'it is not in WAL mode'
    if (header.sizeValid && header.pageCount * pageBytes !== totalBytes)
      return `its header speaks of ${header.pageCount} pages, it has ${totalBytes / pageBytes}`
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

function wrongContent(finding: Finding, point: LogPoint): string | undefined {
  if ('wrong' in finding) return finding.wrong
  const { position } = finding
  if (position === undefined) return `it has no table ${POSITION_TABLE}`
  // A physical position names the record before its own: the row cannot be compared.
  if (position['ahead'] === 1) return undefined
  const { epoch, lsn, crc } = position
  return epoch === point.epoch && lsn === point.lsn && crc === point.crc
    ? undefined
    : 'its position is not the one that was announced'
}

async function inspected(path: string, signal: AbortSignal | undefined): Promise<Finding> {
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
  const workerData: Inspection = { path, positionTable: POSITION_TABLE, ownTablePrefix: OWN_TABLE_PREFIX }
  const worker = new Worker(new URL(`./received-worker${extension}`, import.meta.url), {
    workerData,
    name: 'understudy-received',
    stdin: false,
  })
  let finding: Finding = { wrong: 'the thread that looked into it ended' }
  let failure: unknown
  worker.on('message', (found: Finding) => (finding = found))
  worker.on('error', (error) => (failure = error))
  const onAbort = (): void => void worker.terminate()
  signal?.addEventListener('abort', onAbort, { once: true })
  if (signal?.aborted === true) onAbort()
  await new Promise((resolve) => worker.once('exit', resolve))
  signal?.removeEventListener('abort', onAbort)
  if (signal?.aborted === true) throw aborted(path)
  if (failure !== undefined) throw failure
  return finding
}

function aborted(path: string): UnderstudyError {
  return new UnderstudyError(
    'ABORTED',
    `The look into ${path} was aborted. The file was not changed and is not known to be good; look again before using it.`,
  )
}
