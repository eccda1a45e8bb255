/** What the log formats must not do: statements that follow another clock, pages on another base, frames that are gone. */
import { execFileSync } from 'node:child_process'
import { closeSync, copyFileSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import {
  ORIGIN,
  isUnderstudyError,
  type LogFormat,
  type LogPoint,
  type Recorder,
  type SqliteConnection,
  type WriteTransaction,
} from '@understudy/contracts'
import { statementFormat } from '@understudy/format-statement'
import { walFormat } from '@understudy/format-wal'
import { openLog } from '@understudy/log'
import { becomeLeader, redo } from '@understudy/replication'
import { openStorage, type SqliteStorage } from '@understudy/sqlite'
import { WAL_INDEX_HEADER_BYTES, writeWalIndexHeader } from '@understudy/sqlite-files'
import { MemoryStorage, SeededRandom, SimulatedDisk, memoryFormat } from '@understudy/testkit'
import { InvariantBreach } from '../simulation/breach.ts'

async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-mutant-'))
  try {
    await run(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A group of one write, logical or physical, as the pipeline runs it. */
function lead(
  storage: SqliteStorage,
  format: LogFormat<SqliteConnection>,
  recorder: Recorder,
  lsn: number,
  body: (tx: WriteTransaction) => void,
): readonly Uint8Array[] {
  storage.begin()
  recorder.beginGroup()
  storage.write(body, recorder, { alone: true })
  if (format.physical === true) {
    storage.markBefore(pointOf(lsn - 1))
    storage.commit()
    const payloads = recorder.finishGroup()
    storage.settle(pointOf(lsn))
    return payloads
  }
  const payloads = recorder.finishGroup()
  storage.mark(pointOf(lsn))
  storage.commit()
  return payloads
}

function pointOf(lsn: number): LogPoint {
  return lsn === 0 ? ORIGIN : { epoch: 1, lsn, crc: lsn * 7 }
}

/** What functions answered on the leader is what followers store, whatever theirs would have said. */
export async function capturedResults(): Promise<void> {
  await inFolder(async (folder) => {
    const format = statementFormat()
    await using leader = openStorage({ path: join(folder, 'leader.db') })
    await using follower = openStorage({ path: join(folder, 'follower.db') })
    const recorder = format.recorder(leader.connection)
    const payloads = [
      ...lead(leader, format, recorder, 1, (tx) =>
        tx.exec(
          'create table t (id integer primary key, r integer default (random()), b blob default (randomblob(8)))',
        ),
      ),
      ...lead(leader, format, recorder, 2, (tx) => tx.run('insert into t (id) values (1), (2)')),
    ]
    const applier = format.applier(follower.connection)
    try {
      for (const [index, payload] of payloads.entries()) {
        follower.begin()
        applier.prepare()
        applier.apply(payload)
        follower.mark(pointOf(index + 1))
        follower.commit()
      }
    } catch (error) {
      follower.rollback()
      throw new InvariantBreach('I14', `a sound follower cannot do what the leader did: ${String(error)}`)
    } finally {
      applier.close()
      recorder.close()
    }
  })
}

/** A page that differs from the leader's where a delta does not touch it is not patched. */
export async function wrongPageBase(): Promise<void> {
  await inFolder(async (folder) => {
    const format = walFormat()
    await using leader = openStorage({ path: join(folder, 'leader.db') })
    const recorder = format.recorder(leader.connection)
    lead(leader, format, recorder, 1, (tx) => {
      tx.exec('create table t (id integer primary key, v text)')
      for (let id = 1; id <= 20; id++) tx.run('insert into t values (?, ?)', [id, `row ${id}`])
    })
    await leader.checkpoint()
    copyFileSync(join(folder, 'leader.db'), join(folder, 'follower.db'))
    const other = new DatabaseSync(join(folder, 'follower.db'))
    other.exec(`update t set v = 'Row 7' where id = 7`)
    other.close()
    const payloads = lead(leader, format, recorder, 2, (tx) =>
      tx.run(`update t set v = 'ROW 3' where id = 3`),
    )
    await using follower = openStorage({ path: join(folder, 'follower.db') })
    const applier = format.applier(follower.connection)
    try {
      follower.begin()
      for (const payload of payloads) applier.apply(payload)
      follower.commit()
    } catch (error) {
      follower.rollback()
      if (isUnderstudyError(error, 'DIVERGED')) return
      throw error
    } finally {
      applier.close()
      recorder.close()
    }
    throw new InvariantBreach('I5', 'a delta was laid over a page that was not the leader’s')
  })
}

/**
 * Readers take the first copy of the header, then the second, and believe them when they are equal. So the second is
 * written first: otherwise a reader that has the old first copy could meet a second one that is older still.
 */
export async function headerOrder(): Promise<void> {
  const memory = new Uint8Array(WAL_INDEX_HEADER_BYTES).fill(1)
  writeWalIndexHeader((bytes, offset) => {
    memory.set(bytes, offset)
    if (memory[0] === 2 && memory[48] === 1)
      throw new InvariantBreach(
        'I8',
        'the first copy of the header of the wal-index changed before the second',
      )
  }, new Uint8Array(48).fill(2))
  if (memory[0] !== 2 || memory[48] !== 2)
    throw new InvariantBreach('I8', 'a copy of the header of the wal-index was not written')
  await Promise.resolve()
}

/** Frames that another program's checkpoint took away before they were shipped are noticed, never skipped. */
export async function foreignCheckpoint(): Promise<void> {
  await inFolder(async (folder) => {
    const path = join(folder, 'data.db')
    elsewhere(path, 'pragma journal_mode = wal; create table t (id integer primary key, v)')
    await using storage = openStorage({ path, shared: true })
    const take = (): boolean => {
      storage.begin()
      storage.markBefore(storage.applied)
      storage.commit()
      const committed = storage.connection.pages.committed()
      storage.settle(pointOf(storage.applied.lsn + 1))
      return committed !== undefined
    }
    take()
    elsewhere(path, 'insert into t (v) values (1)')
    // Drops every lock of this process, what holds the log back among them.
    closeSync(openSync(`${path}-shm`, 'r'))
    elsewhere(
      path,
      'pragma wal_checkpoint(truncate); insert into t (v) values (2)',
      'insert into t (v) values (3)',
    )
    if (take())
      throw new InvariantBreach('I5', 'frames were lost to a foreign checkpoint, and nobody was told')
  })
}

function elsewhere(path: string, ...statements: readonly string[]): void {
  const program = `const { DatabaseSync } = require('node:sqlite')
    const database = new DatabaseSync(process.argv[1])
    for (const sql of process.argv.slice(2)) database.exec(sql)
    database.close()`
  execFileSync(process.execPath, ['-e', program, path, ...statements], { stdio: 'ignore' })
}

/** A file that something else changed after its last record is not gone on from. */
export async function changedFile(): Promise<void> {
  const clock = { now: () => 0, monotonic: () => 0, schedule: () => ({ cancel: () => undefined }) }
  const disk = new SimulatedDisk({ random: new SeededRandom('changed') })
  const { random } = disk
  const log = openLog({ directory: '/log', files: disk.mount(), clock, random })
  const storage = new MemoryStorage()
  const format = memoryFormat({ physical: true })
  const formats = [format]
  const { pipeline } = await becomeLeader({
    storage,
    log,
    format,
    formats,
    cluster: 'c',
    node: 'a',
    clock,
    random,
  })
  await pipeline.write((tx) => tx.set('a', '1'))
  const found = storage.kill()
  found.connection.overwrite('a', '2')
  try {
    await redo({ log, storage: found, formats, clock })
  } catch (error) {
    if (isUnderstudyError(error, 'SNAPSHOT_REQUIRED')) return
    throw error
  }
  throw new InvariantBreach('I5', 'a node went on from a file that was not what its record left')
}
