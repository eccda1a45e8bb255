/** Keeps what a node alone had, before it is undone or replaced. */
import { join } from 'node:path'
import { formatPosition, type Log, type LogPoint, type Lsn } from '@understudy/contracts'
import { exportLostTail, writeLostRows } from '@understudy/failover'
import type { Settings } from './options.ts'

/** Where the lost tails of a node's directory are. */
export function lostTailDirectory(directory: string): string {
  return join(directory, 'lost-tail')
}

/** Durable when it returns. Throws what the disk throws: then nothing may be undone. */
export function keepLostTail(
  settings: Settings,
  cluster: string,
  log: Log,
  common: LogPoint,
  end: LogPoint,
): void {
  const { files, directory, name, clock, emit } = settings
  const path = exportLostTail({
    files,
    directory: lostTailDirectory(directory),
    log,
    cluster,
    node: name,
    common,
    end,
    nowMs: clock.now(),
  })
  if (path !== undefined)
    emit({ kind: 'lostTail', path, common: formatPosition(common), end: formatPosition(end) })
}

/** What the statements of a lost tail did, beside it. Durable when it returns. */
export function keepLostRows(
  { files, directory }: Settings,
  common: LogPoint,
  end: LogPoint,
  rows: ReadonlyMap<Lsn, unknown>,
): void {
  writeLostRows({ files, directory: lostTailDirectory(directory), common, end, rows })
}
