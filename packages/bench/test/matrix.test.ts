import { readdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { decode, percentileMs } from '../src/load/histogram.ts'
import type { Results } from '../src/matrix/results.ts'
import { runMatrix, type MatrixReporter } from '../src/matrix/runner.ts'
import { rowsOf } from '../src/report/rows.ts'
import { testFolder } from './folder.ts'

const TIMEOUT_MS = 180_000
const TINY = {
  rounds: 2,
  seconds: 0.15,
  warmUpSeconds: 0.05,
  followers: 1,
  transport: ['tcp'],
  ack: ['async'],
} as const

const folder = testFolder()

function collecting(steps: string[]): MatrixReporter {
  return {
    begin: () => undefined,
    step: (note) => steps.push(note),
    note: () => undefined,
    end: () => undefined,
  }
}

test(
  'a tiny run measures Understudy beside bare SQLite in processes of their own, and everything that is asked for',
  async () => {
    const steps: string[] = []
    const results = await runMatrix(collecting(steps), {
      ...TINY,
      directory: folder.path,
      format: ['row'],
      ack: ['semi-sync'],
      writers: [8],
      workload: ['inserts'],
      measure: ['bytes', 'resources', 'lag', 'staleness', 'bootstrap', 'catchup'],
      killLeader: true,
    })
    expect(results.cells.map(({ key }) => key)).toEqual([
      'sqlite full | inserts 0 | 8 | closed',
      'sqlite off | inserts 0 | 8 | closed',
      'understudy row/tcp/semi-sync/client | inserts 0 | 8 | closed',
    ])
    expect(steps).toHaveLength(6)
    const [full, , ours] = results.cells
    expect(ours?.rounds.map(({ round }) => round)).toEqual([1, 2])
    for (const round of ours?.rounds ?? []) {
      expect(round.operations).toBeGreaterThan(0)
      expect(decode(round.latency).totalCount).toBe(round.operations)
      expect(round.byOperation['insert']?.count).toBe(round.operations)
      // The value alone has 100 bytes: fewer would mean that rows went missing.
      expect(round.wireBytesPerCommit).toBeGreaterThan(100)
      expect(round.logBytesPerCommit).toBeGreaterThan(100)
      expect(Object.keys(round.nodes ?? {})).toEqual(
        process.platform === 'linux' ? ['leader', 'follower-b', 'load'] : [],
      )
      expect(decode(round.lag?.latency ?? '').totalCount).toBeGreaterThan(0)
      expect(round.lag?.series.length).toBeGreaterThan(0)
      expect(decode(round.staleness ?? '').totalCount).toBeGreaterThan(0)
    }
    expect(ours?.bootstrap?.[0]?.bytes).toBeGreaterThan(4096)
    expect(ours?.catchUp?.[0]?.operations).toBeGreaterThan(0)
    expect(ours?.kill?.acknowledged).toBeGreaterThan(0)
    expect(ours?.kill).toMatchObject({ lostOnReplica: 0, lostOnRestart: 0, failoverSeconds: 'not measured' })
    expect(full?.rounds[0]?.wireBytesPerCommit).toBeUndefined()
    expect(full?.kill).toBeUndefined()
    expect(results.subjects['understudy']?.facts['row/tcp/semi-sync/client']?.['durability']).toMatch(
      /fdatasync/,
    )
    expect(rowsOf(results)[2]?.vsYardstick?.values).toHaveLength(2)
    expect(await readdir(folder.path)).toEqual([])
  },
  TIMEOUT_MS,
)

test(
  'a run that was stopped goes on: cells that are done are not measured again, and everything is cleaned up',
  async () => {
    const options = {
      ...TINY,
      directory: folder.path,
      format: ['row'],
      callers: ['embedded'],
      writers: [1, 4, 8],
      workload: ['inserts'],
      peers: ['none'],
      measure: ['bytes'],
    }
    const stop = new AbortController()
    const kept: Results[] = []
    const steps: string[] = []
    const stopping = runMatrix(
      { ...collecting(steps), step: (note) => void (steps.push(note) === 3 && stop.abort()) },
      { ...options, signal: stop.signal, keep: async (results) => void kept.push(results) },
    )
    await expect(stopping).rejects.toMatchObject({ code: 'ABORTED' })
    expect(await readdir(folder.path)).toEqual([])
    // Two rounds with one writer are a cell; the third measurement belongs to one that is not done.
    const before = kept.at(-1) as Results
    expect(before.cells.map(({ cell }) => cell.writers)).toEqual([1])
    const more: string[] = []
    const results = await runMatrix(collecting(more), { ...options, resume: before })
    expect(more.filter((note) => note.includes(' 1 writers'))).toEqual([])
    expect(more).toHaveLength(4)
    expect(results.cells.map(({ cell }) => cell.writers)).toEqual([1, 4, 8])
    expect(results.cells[0]).toEqual(before.cells[0])
    expect(results.startedAt).toBe(before.startedAt)
    await expect(runMatrix(collecting([]), { ...options, seconds: 9, resume: before })).rejects.toThrow(
      /measured with seconds 0.15/,
    )
  },
  TIMEOUT_MS,
)

test(
  'a cell that fails is told with its reason, and the others are measured',
  async () => {
    const mine = path.join(folder.path, 'fails.ts')
    // Whoever replicates statements cannot repeat a LIMIT without an order.
    await writeFile(
      mine,
      `export const workload = {
         name: 'fails', title: '', rowsDefault: 1, rowsQuick: 1,
         schema: () => ['create table note (id integer primary key, n integer)'],
         rows: () => [[{ sql: 'insert into note (n) values (1)' }]],
         start: () => ({ next: () => ({ name: 'x', steps: [{ kind: 'write', statements: [{ sql: 'update note set n = (select n + 1 from note limit 1)' }] }] }) }),
       }`,
    )
    const results = await runMatrix(collecting([]), {
      ...TINY,
      rounds: 1,
      directory: folder.path,
      format: ['row', 'statement'],
      callers: ['embedded'],
      writers: [2],
      workload: [mine],
      peers: ['none'],
    })
    const [row, statement] = results.cells
    expect(row?.rounds).toHaveLength(1)
    expect(row?.skipped).toBeUndefined()
    expect(statement?.rounds).toEqual([])
    expect(statement?.skipped).toMatch(/could do something else on a follower/)
  },
  TIMEOUT_MS,
)

test(
  'a workload, a peer and a database of the user are measured in the same run; what is not installed is named and left out',
  async () => {
    const mine = path.join(folder.path, 'mine.ts')
    await writeFile(
      mine,
      `import { DatabaseSync } from 'node:sqlite'
       import { copyFile } from 'node:fs/promises'
       export const workload = {
         name: 'notes', title: 'notes', rowsDefault: 3, rowsQuick: 3,
         schema: () => ['create table note (id integer primary key, body text)'], rows: () => [],
         invariants: [{ title: 'there are notes', sql: 'select (select count(*) > 0 from note) and (select count(*) = 1 from old)' }],
         start: () => ({ next: () => ({ name: 'note', steps: [{ kind: 'write', statements: [{ sql: 'insert into note (body) values (1)' }] }] }) }),
       }
       export const subject = {
         name: 'mine', title: 'a journal', variants: [{}],
         find: async () => ({ version: '1' }),
         start: async ({ directory, database }) => {
           await copyFile(await database(), directory + '/x.db')
           return { endpoint: directory + '/x.db', facts: {}, nodes: () => [], settled: async () => {}, [Symbol.asyncDispose]: async () => {} }
         },
         connect: async (file) => {
           const database = new DatabaseSync(file)
           return { run: (step) => void step.statements.forEach(({ sql }) => database.exec(sql)), [Symbol.asyncDispose]: async () => database.close() }
         },
       }`,
    )
    const absent = path.join(folder.path, 'absent.ts')
    await writeFile(
      absent,
      `export const subject = { name: 'absent', title: '', variants: [{}], find: async () => ({ missing: 'its program is not on the PATH' }), start() {}, connect() {} }`,
    )
    const own = path.join(folder.path, 'own.db')
    const database = new DatabaseSync(own)
    database.exec("create table old (id integer primary key, name text); insert into old (name) values ('a')")
    database.close()
    const results = await runMatrix(collecting([]), {
      ...TINY,
      rounds: 1,
      directory: folder.path,
      format: ['statement'],
      callers: ['embedded'],
      writers: [2],
      workload: [mine],
      peer: [mine, absent],
      peers: ['none'],
      database: own,
      rate: 200,
    })
    expect(results.cells.map(({ cell }) => cell.subject)).toEqual(['understudy', 'mine'])
    for (const { rounds } of results.cells) {
      expect(rounds[0]?.operations).toBeGreaterThan(0)
      // An open loop begins no more than what arrives.
      expect(rounds[0]?.operations).toBeLessThanOrEqual(30)
    }
    expect(results.subjects['absent']?.missing).toBe('its program is not on the PATH')
    expect(results.subjects['mine']?.version).toBe('1')
  },
  TIMEOUT_MS,
)

test(
  'a log format, a transport and an ack policy of the user are variants like those of the package, on a network that is slow',
  async () => {
    const own = path.join(import.meta.dirname, 'own-parts.ts')
    const results = await runMatrix(collecting([]), {
      ...TINY,
      rounds: 1,
      seconds: 0.3,
      directory: folder.path,
      format: [own],
      transport: [own],
      ack: [own],
      roundTrip: [10],
      writers: [2],
      workload: ['inserts'],
      peers: ['none'],
    })
    const [cell] = results.cells
    expect(cell?.skipped).toBeUndefined()
    expect(cell?.rounds[0]?.operations).toBeGreaterThan(0)
    // Each commit waits for the follower, at the other end of the relay, which is never early.
    expect(percentileMs(decode(cell?.rounds[0]?.latency ?? ''), 0)).toBeGreaterThan(9.9)
    expect(cell?.heldMs?.p50).toBeGreaterThan(4.9)
    await expect(
      runMatrix(collecting([]), {
        ...TINY,
        format: ['./no-format.ts'],
        writers: [1],
        workload: ['inserts'],
        peers: ['none'],
      }),
    ).resolves.toMatchObject({
      cells: [{ rounds: [], skipped: expect.stringMatching(/cannot be loaded/) as string }],
    })
  },
  TIMEOUT_MS,
)
