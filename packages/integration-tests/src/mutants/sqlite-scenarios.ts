/** Real databases: what a snapshot, a write and an apply must not do. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { isUnderstudyError, type LogPoint, type Recorder, type WriteTransaction } from '@understudy/contracts'
import { rowFormat } from '@understudy/format-row'
import { openLog } from '@understudy/log'
import { becomeLeader } from '@understudy/replication'
import { openStorage, type SqliteStorage } from '@understudy/sqlite'
import { SeededRandom, SimulatedDisk } from '@understudy/testkit'
import { InvariantBreach } from '../simulation/breach.ts'

async function inFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-mutant-'))
  try {
    await run(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Writes on `storage` as a leader, returns the payloads. */
function lead(
  storage: SqliteStorage,
  recorder: Recorder,
  lsn: number,
  body: (tx: WriteTransaction) => void,
): readonly Uint8Array[] {
  storage.begin()
  recorder.beginGroup()
  storage.write(body, recorder, { alone: true })
  const payloads = recorder.finishGroup()
  storage.mark(pointOf(lsn))
  storage.commit()
  return payloads
}

function pointOf(lsn: number): LogPoint {
  return { epoch: 1, lsn, crc: lsn * 7 }
}

/** A snapshot whose log was moved into the file whole, and begins anew beside it, stays what it was. */
export async function backfilledLog(): Promise<void> {
  await inFolder(async (folder) => {
    await using storage = openStorage({ path: join(folder, 'data.db') })
    const recorder = rowFormat().recorder(storage.connection)
    const churn = (lsn: number): void => {
      lead(storage, recorder, lsn, (tx) => {
        if (lsn === 1) tx.exec('create table t (id integer primary key, lsn integer, v blob)')
        tx.run('update t set lsn = ?, v = randomblob(900)', [lsn])
        tx.run('insert into t (lsn, v) values (?, randomblob(700))', [lsn])
      })
    }
    for (let lsn = 1; lsn <= 40; lsn++) churn(lsn)
    await storage.checkpoint()
    const snapshot = await storage.snapshot()
    for (let lsn = 41; lsn <= 60; lsn++) churn(lsn)
    const image = new Uint8Array(snapshot.totalBytes)
    try {
      await snapshot.read(image, 0)
    } catch (error) {
      throw new InvariantBreach('I12', `a snapshot cannot be read while writes go on: ${String(error)}`)
    } finally {
      await snapshot.close()
      recorder.close()
    }
    expectImage(join(folder, 'image.db'), image, snapshot.point)
  })
}

function expectImage(path: string, image: Uint8Array, at: LogPoint): void {
  writeFileSync(path, image)
  const database = new DatabaseSync(path)
  try {
    const found = database.prepare('select max(lsn) as high, min(lsn) as low, count(*) as n from t').get()
    const isRight = found?.['high'] === at.lsn && found['low'] === at.lsn && found['n'] === at.lsn
    if (!isRight) throw new InvariantBreach('I5', `the image of LSN ${at.lsn} holds ${JSON.stringify(found)}`)
    const check = database.prepare('pragma integrity_check').get()
    if (check?.['integrity_check'] !== 'ok') throw new InvariantBreach('I5', 'the image is no sound database')
  } catch (error) {
    if (error instanceof InvariantBreach) throw error
    throw new InvariantBreach('I5', `the image cannot be read: ${String(error)}`)
  } finally {
    database.close()
  }
}

/** A deferred constraint that would fail the COMMIT fails its write before anything of it is in the log. */
export async function deferredConstraint(): Promise<void> {
  await inFolder(async (folder) => {
    await using storage = openStorage({ path: join(folder, 'data.db') })
    const clock = { now: () => 0, monotonic: () => 0, schedule: () => ({ cancel: () => undefined }) }
    const disk = new SimulatedDisk({ random: new SeededRandom('deferred') })
    const log = openLog({ directory: '/log', files: disk.mount(), clock, random: disk.random })
    const format = rowFormat()
    const random = disk.random
    const { pipeline } = await becomeLeader({
      storage,
      log,
      format,
      formats: [format],
      cluster: 'c',
      node: 'a',
      clock,
      random,
    })
    await pipeline.write((tx) =>
      tx.exec(
        'create table p (id integer primary key); create table c (id integer primary key, p integer references p deferrable initially deferred)',
      ),
    )
    const before = log.end.lsn
    const error: unknown = await pipeline
      .write((tx) => tx.run('insert into c (p) values (1)'))
      .then(
        () => undefined,
        (reason: unknown) => reason,
      )
    if (error === undefined)
      throw new InvariantBreach('I9', 'a write that breaks a deferred constraint was acknowledged')
    if (log.end.lsn !== before)
      throw new InvariantBreach(
        'I9',
        `a write that broke a deferred constraint is in the log, its COMMIT failed: ${error instanceof Error ? error.message : 'no error'}`,
      )
    await pipeline.write((tx) => tx.run('insert into p values (1)'))
    await pipeline.close()
    await log.close()
  })
}

/** What a trigger did on the leader is in the rows: it does not fire again where they are applied. */
export async function firingTriggers(): Promise<void> {
  await pair(
    `create table t (id integer primary key, n integer); create table audit (n integer primary key);
     create trigger count_up after insert on t begin update t set n = n + 1 where id = new.id; end`,
    undefined,
    (tx) => tx.run('insert into t values (1, 10)'),
    async (follower) => {
      const rows = await follower.read((tx) => tx.all('select id, n from t'))
      if (rows[0]?.['n'] !== 11)
        throw new InvariantBreach('I10', `a trigger fired again on the follower: ${JSON.stringify(rows)}`)
    },
  )
}

/** Rows of another schema are not applied: with columns in another order SQLite would swap their values. */
export async function anotherSchema(): Promise<void> {
  await pair(
    'create table t (id integer primary key, a text, b text)',
    'create table t (id integer primary key, b text, a text)',
    (tx) => tx.run(`insert into t (id, a, b) values (1, 'A', 'B')`),
    async (follower, refusal) => {
      if (isUnderstudyError(refusal, 'SCHEMA_MISMATCH')) return
      const rows = await follower.read((tx) => tx.all('select a, b from t'))
      throw new InvariantBreach('I5', `rows of another schema were applied: ${JSON.stringify(rows)}`)
    },
  )
}

/** A leader and a follower with a schema each; one write is applied, then `expect` looks at the follower. */
async function pair(
  schema: string,
  otherSchema: string | undefined,
  body: (tx: WriteTransaction) => void,
  expect: (follower: SqliteStorage, refusal: unknown) => Promise<void>,
): Promise<void> {
  await inFolder(async (folder) => {
    await using leader = openStorage({ path: join(folder, 'leader.db') })
    await using follower = openStorage({ path: join(folder, 'follower.db') })
    const format = rowFormat()
    const recorder = format.recorder(leader.connection)
    lead(leader, recorder, 1, (tx) => tx.exec(schema))
    const other = format.recorder(follower.connection)
    lead(follower, other, 1, (tx) => tx.exec(otherSchema ?? schema))
    other.close()
    const payloads = lead(leader, recorder, 2, body)
    const applier = format.applier(follower.connection)
    let refusal: unknown
    try {
      follower.begin()
      applier.prepare()
      for (const payload of payloads) applier.apply(payload)
      follower.mark(pointOf(2))
      follower.commit()
    } catch (error) {
      refusal = error
      follower.rollback()
      if (isUnderstudyError(error, 'DIVERGED'))
        throw new InvariantBreach('I10', `applying found other rows: ${error.message}`)
    }
    await expect(follower, refusal)
    recorder.close()
    applier.close()
  })
}
