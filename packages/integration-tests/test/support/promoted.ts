/** The data of a node that was closed, leading: what `promote` comes to, without anybody to decide it. */
import { join } from 'node:path'
import { readdirSync } from 'node:fs'
import { systemClock, systemRandom, type LogFormat, type SqliteConnection } from '@understudy/contracts'
import { openLog } from '@understudy/log'
import {
  becomeLeader,
  ackStateOf,
  idsProven,
  type CommitPipeline,
  type LeaderIds,
} from '@understudy/replication'
import { openStorage, type SqliteStorage } from '@understudy/sqlite'
import { onTestFinished } from 'vitest'

export interface Promoted {
  readonly pipeline: CommitPipeline
  readonly storage: SqliteStorage
  /** What it could prove of ids by its log alone. */
  readonly isProvenByLog: boolean
  close(): Promise<void>
}

export async function promote(
  directory: string,
  node: string,
  format: LogFormat<SqliteConnection>,
  ids?: LeaderIds,
): Promise<Promoted> {
  const generation = readdirSync(directory)
    .filter((name) => name.startsWith('generation-'))
    .toSorted()
    .at(-1)
  const root = join(directory, generation ?? '')
  const clock = systemClock()
  const storage = openStorage({ path: join(root, 'database.sqlite') })
  const log = openLog({ directory: join(root, 'log'), clock, knownDurable: storage.applied.lsn })
  const isProvenByLog = idsProven({ isPromised: false, acks: ackStateOf(log) })
  const { pipeline } = await becomeLeader({
    storage,
    log,
    format,
    formats: [format],
    cluster: 'c0ffee00c0ffee00',
    node,
    clock,
    random: systemRandom(),
    ...(ids && { ids }),
  })
  let isClosed = false
  const close = async (): Promise<void> => {
    if (isClosed) return
    isClosed = true
    await pipeline.close()
    await storage.close()
    await log.close()
  }
  onTestFinished(close)
  return { pipeline, storage, isProvenByLog, close }
}
