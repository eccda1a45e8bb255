/** Runs each program as a reader would: its own process, exit code 0, nothing on stderr, nothing left behind. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, onTestFinished, test } from 'vitest'

const FOLDER = join(import.meta.dirname, '..')
const PROGRAMS = readdirSync(FOLDER).filter((name) => /^\d\d-.*\.ts$/.test(name))

/** The runner of the tests may ask for colours, which would be part of what numbers print. */
const PLAIN = { FORCE_COLOR: '0' }

/** What each one must have said, in this order. */
const EXPECTED: Readonly<Record<string, readonly RegExp[]>> = {
  '01-leader.ts': [
    /^node a leads cluster [0-9a-f]{16} at tcp:\/\/127\.0\.0\.1:\d+$/,
    /^wrote note 2 at position 1\/3$/,
    /^refused: NOT NULL constraint failed: note\.body$/,
    /^1,000 durable commits in \d+ ms$/,
    /^1: hello, 2: there$/,
  ],
  '02-follower.ts': [
    /^snapshot of \d+ bytes at LSN \d+$/,
    /^follower is streaming$/,
    /^notes on the follower: 101$/,
    /^NOT_LEADER: a follower takes no writes$/,
    /^leader sees b: streaming, \d records behind$/,
  ],
  '03-follower-in-another-process.ts': [
    /^the other process has 50 notes at LSN \d+, then SIGKILL$/,
    /^the other process has 100 notes at LSN \d+, then a clean stop$/,
  ],
  '04-functions-and-collations.ts': [
    /^by function: Hello, World! at hello-world-$/,
    /^by collation: page 1$/,
    /^by aggregate: A much longer title$/,
    /^refused: UNIQUE constraint failed: index 'page_by_slug'$/,
  ],
  '05-read-your-writes.ts': [
    /^100 writes on the leader, 100 reads on the follower, 0 stale$/,
    /^TIMEOUT: This node did not reach position 1\/103 within 50 ms/,
  ],
  '06-decode-a-changeset.ts': [
    /^\d+ bytes:$/,
    /^ {2}update account \(1, ·, 1000\) -> \(·, ·, 700\)$/,
    /^ {2}delete account \(3, eve, 1\) -> \(\)$/,
    /^ {2}insert account \(\) -> \(4, dan, 9007199254740993\)$/,
    /^undone: \(1, ann, 1000\) \(2, bob, 500\) \(3, eve, 1\)$/,
  ],
  '07-append-to-a-log.ts': [
    /^2: one$/,
    /^3: two$/,
    /^appended up to 4, durable up to 3$/,
    /^after the crash: up to 3;/,
    /^LOG_CORRUPT in 0{19}1\.segment at LSN 3$/,
  ],
  '08-import-a-database.ts': [
    /^DATABASE_UNSUITABLE: .*visit/,
    /^adopted and continued: Lisbon, Oslo, Quito, Hanoi$/,
    /^cities in the application's own file: 3$/,
  ],
  '09-change-the-log-format.ts': [
    /^row: 10 notes, equal on the follower$/,
    /^statement: 20 notes, equal on the follower$/,
    /^wal: 30 notes, equal on the follower$/,
    /^row: 40 notes, equal on the follower$/,
    /^safe: update/,
    /^context \(RANDOM, MOMENT\): insert/,
    /^unsafe \(LIMIT_WITHOUT_ORDER\): delete/,
  ],
  '10-let-in-whom-you-know.ts': [
    /^the follower has 1 notes$/,
    /^the application answers the application$/,
    /^the dashboard reads hello$/,
    /^the dashboard may not write: FORBIDDEN$/,
    /^the leader turned somebody away: AUTHENTICATION_FAILED$/,
    /^the dashboard is not known any more: AUTHENTICATION_FAILED$/,
  ],
  '11-write-once-and-check-it.ts': [
    /^payment 1 is written, for the first time$/,
    /^payment 1 is written, again$/,
    /^one position: true$/,
    /^another amount under the same key: KEY_REUSED$/,
    /^applied on b$/,
    /^the follower says: committed$/,
    /^of one that it has not heard of: unknown$/,
    /^payments on the follower: 1$/,
  ],
  '12-watch-a-cluster.ts': [
    /^before it starts: 503$/,
    /^follower, reads at most 5 s old: 200$/,
    /^follower, writes: 503$/,
    /^leader, writes: 200$/,
    /^lag: 0 records, 0 bytes, 0 ms$/,
    /^understudy_commit_duration_seconds_count 2$/,
    /^event: b left$/,
    /^b is gone, its slot holds the log from \d+$/,
    /^slots: local$/,
    /^after it closed: 503$/,
  ],
  '13-measure-your-own.ts': [
    /^understudy row\/tcp\/async\/client: \d+ sales\/s, \d+ of them timed$/,
    /^journal: \d+ sales\/s, \d+ of them timed$/,
  ],
  '14-a-client-that-goes-on.ts': [
    /^connected to a cluster that [abc] leads$/,
    /^another one leads: true$/,
    /^200 writes, 0 failed$/,
    /^notes, and different ones: 200,200$/,
  ],
  '15-sql-over-a-connection.ts': [
    /^transfer of 60: done, and again: not enough$/,
    /^sum after the transaction: 160$/,
    /^1 parameter; id INTEGER, body BLOB$/,
    /^150000 rows$/,
    /^bigint 9007199254740993, bigint 1, number 1$/,
  ],
}

test('every program is listed in the README, and has its lines here', () => {
  const listed = readFileSync(join(FOLDER, 'README.md'), 'utf8').matchAll(/^\| \[(.*?)\]\((.*?)\)/gm)
  expect(Array.from(listed, ([, text, link]) => [text, link])).toEqual(PROGRAMS.map((name) => [name, name]))
  expect(Object.keys(EXPECTED)).toEqual(PROGRAMS)
})

describe('each program says what it does, and leaves nothing', () => {
  for (const name of PROGRAMS) {
    test(name, { timeout: 120_000 }, async () => {
      const folder = mkdtempSync(join(tmpdir(), 'understudy-examples-'))
      onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
      const { stdout, stderr } = await promisify(execFile)(
        process.execPath,
        ['--conditions=@understudy/source', '--disable-warning=ExperimentalWarning', join(FOLDER, name)],
        { env: { ...process.env, ...PLAIN, TMPDIR: folder }, timeout: 110_000 },
      )
      expect(stderr).toBe('')
      const lines = stdout.split('\n')
      let at = 0
      for (const line of EXPECTED[name] ?? []) {
        const found = lines.findIndex((each, index) => index >= at && line.test(each))
        expect(found, `${line} after line ${at} of\n${stdout}`).toBeGreaterThanOrEqual(at)
        at = found + 1
      }
      expect(readdirSync(folder)).toEqual([])
    })
  }
})
