/**
 * What recording and applying cost beside bare `node:sqlite`, for the groups that matter: 1, 64 and 1,000 statements.
 *
 * Run: `node --conditions=@understudy/source bench/statements.bench.ts`. Databases in memory: the disk is measured
 * elsewhere. The workload is that of the row format's own bench, so that the figures of one machine compare.
 */
import { DatabaseSync } from 'node:sqlite'
import type { SqliteConnection, StatementInfo, StatementObserver } from '@understudy/contracts'
import { statementFormat } from '../src/index.ts'

const TABLE = 'create table kv (id integer primary key autoincrement, k text, v text, n integer)'
const SQL = 'insert into kv (k, v, n) values (?, ?, ?)'
const WRITES = new Set(['kv'])

interface BenchConnection extends SqliteConnection {
  readonly observers: StatementObserver[]
}

function connect(): BenchConnection {
  const database = new DatabaseSync(':memory:')
  database.exec(TABLE)
  const observers: StatementObserver[] = []
  return {
    database,
    observers,
    internal: (run) => run(),
    guarded: (run) => run(),
    observe: (observer) => {
      observers.push(observer)
      return () => observers.splice(observers.indexOf(observer), 1)
    },
    get pages(): never {
      throw new Error('statements need no pages')
    },
    ownTablePrefix: '_understudy_',
  }
}

function measure(rowsPerGroup: number, groups: number): Record<string, number> {
  const leader = connect()
  const follower = connect()
  const bare = connect()
  const format = statementFormat()
  const recorder = format.recorder(leader)
  const applier = format.applier(follower)
  const insert = leader.database.prepare(SQL)
  const value = 'v'.repeat(100)
  const payloads: Uint8Array[] = []
  const recordMs = timed(() => {
    for (let group = 0; group < groups; group += 1) {
      leader.database.exec('begin')
      recorder.beginGroup()
      for (let row = 0; row < rowsPerGroup; row += 1) {
        recorder.beginWrite()
        const parameters = [`key-${1_000_000 + row}`.slice(0, 10), value, group] as const
        const info: StatementInfo = { sql: SQL, parameters, effect: 'rows', writes: WRITES }
        for (const observer of leader.observers) observer.before(info)
        insert.run(...parameters)
        for (const observer of leader.observers) observer.after(info)
        recorder.endWrite()
      }
      payloads.push(...recorder.finishGroup())
      leader.database.exec('commit')
    }
  })
  const bareInsert = bare.database.prepare(SQL)
  const bareMs = timed(() => {
    for (let group = 0; group < groups; group += 1) {
      bare.database.exec('begin')
      for (let row = 0; row < rowsPerGroup; row += 1)
        bareInsert.run(`key-${1_000_000 + row}`.slice(0, 10), value, group)
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
  const rows = rowsPerGroup * groups
  const perSecond = (ms: number): number => Math.round((rows / ms) * 1000)
  const bytes = payloads.reduce((sum, payload) => sum + payload.length, 0)
  return {
    rowsPerGroup,
    recordedRowsPerSecond: perSecond(recordMs),
    bareRowsPerSecond: perSecond(bareMs),
    appliedRowsPerSecond: perSecond(applyMs),
    recordingMicrosecondsPerRow: Number((((recordMs - bareMs) / rows) * 1000).toFixed(2)),
    bytesPerRow: Number((bytes / rows).toFixed(1)),
  }
}

function timed(run: () => void): number {
  const start = performance.now()
  run()
  return performance.now() - start
}

measure(64, 1000)
for (const [rowsPerGroup, groups] of [
  [1, 20_000],
  [64, 3000],
  [1000, 200],
] as const) {
  process.stdout.write(`${JSON.stringify(measure(rowsPerGroup, groups))}\n`)
}
