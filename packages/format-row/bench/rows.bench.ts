/**
 * What recording and applying cost beside bare `node:sqlite`, for the groups that matter: 1, 64 and 1,000 rows.
 *
 * Run: `node --conditions=@understudy/source bench/rows.bench.ts`. Databases in memory: the disk is measured elsewhere.
 */
import { DatabaseSync } from 'node:sqlite'
import type { SqliteConnection, StatementInfo, StatementObserver } from '@understudy/contracts'
import { rowFormat } from '../src/index.ts'

const TABLE = 'create table kv (id integer primary key autoincrement, k text, v text, n integer)'
const INFO: StatementInfo = { sql: 'insert', parameters: [], effect: 'rows', writes: new Set(['kv']) }

interface BenchConnection extends SqliteConnection {
  observer?: StatementObserver
}

function connect(): BenchConnection {
  const database = new DatabaseSync(':memory:')
  database.exec(TABLE)
  return {
    database,
    internal: (run) => run(),
    guarded: (run) => run(),
    observe(observer) {
      this.observer = observer
      return () => {}
    },
    get pages(): never {
      throw new Error('rows need no pages')
    },
    ownTablePrefix: '_understudy_',
  }
}

function measure(rowsPerGroup: number, groups: number): Record<string, number> {
  const leader = connect()
  const follower = connect()
  const bare = connect()
  const format = rowFormat()
  const recorder = format.recorder(leader)
  const applier = format.applier(follower)
  follower.database.exec('begin')
  applier.prepare()
  follower.database.exec('commit')
  const sql = 'insert into kv (k, v, n) values (?, ?, ?)'
  const insert = leader.database.prepare(sql)
  const value = 'v'.repeat(100)
  const payloads: Uint8Array[] = []
  const changesets: Uint8Array[] = []
  const recordMs = timed(() => {
    for (let group = 0; group < groups; group += 1) {
      leader.database.exec('begin')
      recorder.beginGroup()
      for (let row = 0; row < rowsPerGroup; row += 1) {
        recorder.beginWrite()
        leader.observer?.before(INFO)
        insert.run(`key-${1_000_000 + row}`.slice(0, 10), value, group)
        leader.observer?.after(INFO)
        recorder.endWrite()
      }
      payloads.push(...recorder.finishGroup())
      leader.database.exec('commit')
    }
  })
  const bareInsert = bare.database.prepare(sql)
  const sessionMs = timed(() => {
    for (let group = 0; group < groups; group += 1) {
      bare.database.exec('begin')
      const session = bare.database.createSession()
      for (let row = 0; row < rowsPerGroup; row += 1)
        bareInsert.run(`key-${1_000_000 + row}`.slice(0, 10), value, group)
      changesets.push(session.changeset())
      session.close()
      bare.database.exec('commit')
    }
  })
  const applyMs = timed(() => {
    for (const payload of payloads) {
      follower.database.exec('begin')
      applier.apply(payload)
      follower.database.exec('commit')
    }
  })
  const target = connect()
  const bareApplyMs = timed(() => {
    for (const changeset of changesets) {
      target.database.exec('begin')
      target.database.applyChangeset(changeset)
      target.database.exec('commit')
    }
  })
  const rows = rowsPerGroup * groups
  const perSecond = (ms: number): number => Math.round((rows / ms) * 1000)
  return {
    rowsPerGroup,
    bytesPerRow: payloads.reduce((sum, payload) => sum + payload.length, 0) / rows,
    recordRows: perSecond(recordMs),
    sessionRows: perSecond(sessionMs),
    applyRows: perSecond(applyMs),
    bareApplyRows: perSecond(bareApplyMs),
  }
}

function timed(run: () => void): number {
  const start = performance.now()
  run()
  return performance.now() - start
}

measure(64, 200)
for (const [rows, groups] of [
  [1, 20_000],
  [64, 3_000],
  [1_000, 200],
] as const) {
  process.stdout.write(`${JSON.stringify(measure(rows, groups))}\n`)
}
