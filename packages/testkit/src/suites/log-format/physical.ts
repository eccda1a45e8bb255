/** Log format suite: what only formats do whose payloads are pages of the file, taken after COMMIT. */
import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { expect, it } from 'vitest'
import { isUnderstudyError } from '@understudy/contracts'
import type { Bench } from './bench.ts'
import type { SuiteNode, SuiteRecord } from './node.ts'

const GIVEN = 'create table t (id integer primary key, v); insert into t values (1, 1), (2, 2)'
const ALL = { triggers: true, statistics: true, rowids: true }

/** A leader with some data and a follower whose file is the leader's. */
async function pair(bench: Bench): Promise<{ leader: SuiteNode; follower: SuiteNode }> {
  const leader = bench.open('leader')
  leader.lead()
  leader.group([GIVEN])
  await leader.copyTo(bench.path('follower'))
  const follower = bench.open('follower')
  follower.settle()
  return { leader, follower }
}

function codeOf(run: () => void): unknown {
  try {
    run()
    return undefined
  } catch (error) {
    return isUnderstudyError(error) ? error.code : error
  }
}

export function physicalTests(bench: Bench): void {
  it('a transaction that a crash kept out of the log is found again', async () => {
    const { leader, follower } = await pair(bench)
    follower.apply(leader.group(['insert into t values (3, 3)'])[0] as SuiteRecord)
    leader.commitUnlogged('insert into t values (4, randomblob(9000)); delete from t where id = 1')
    copyAsKilled(bench.path('leader'), bench.path('survivor'))
    const survivor = bench.open('survivor')
    survivor.lead()
    const records = survivor.recover()
    expect(records).toHaveLength(1)
    expect(survivor.holds(records[0] as SuiteRecord)).toBe(true)
    follower.apply(records[0] as SuiteRecord)
    expect(follower.dump(ALL)).toEqual(survivor.dump(ALL))
    for (const record of survivor.group(['update t set v = v + 1'])) follower.apply(record)
    expect(follower.dump(ALL)).toEqual(survivor.dump(ALL))
    expect(follower.query('select id from t')).toEqual([[2], [3], [4]])
  })

  it('a base cannot be applied: the follower needs the file as a whole', async () => {
    const { leader, follower } = await pair(bench)
    const base = leader.base()
    expect(leader.holds(base)).toBe(true)
    const before = follower.dump(ALL)
    expect(codeOf(() => follower.apply(base))).toBe('SNAPSHOT_REQUIRED')
    expect(follower.dump(ALL)).toEqual(before)
    for (const record of leader.group(['insert into t values (3, 3)'])) follower.apply(record)
    expect(follower.dump(ALL)).toEqual(leader.dump(ALL))
  })

  it('a record twice, one left out and one for another file are DIVERGED and change nothing', async () => {
    const { leader, follower } = await pair(bench)
    const [first, second] = [3, 4].flatMap((id) => leader.group([`insert into t values (${id}, ${id})`])) as [
      SuiteRecord,
      SuiteRecord,
    ]
    const before = follower.dump(ALL)
    expect(codeOf(() => follower.apply(second))).toBe('DIVERGED')
    expect(follower.dump(ALL)).toEqual(before)
    follower.apply(first)
    const after = follower.dump(ALL)
    expect(codeOf(() => follower.apply(first))).toBe('DIVERGED')
    expect(follower.dump(ALL)).toEqual(after)
    expect([follower.holds(first), leader.holds(first), leader.holds(second)]).toEqual([true, false, true])
    follower.apply(second)
    expect(follower.dump(ALL)).toEqual(leader.dump(ALL))
  })

  it('a damaged record is told, whichever byte it is, and changes nothing', async () => {
    const { leader, follower } = await pair(bench)
    const record = leader.group([`insert into t values (3, 'three'), (4, 'four')`])[0] as SuiteRecord
    const before = follower.dump(ALL)
    for (let at = 0; at < record.payload.length; at += Math.ceil(record.payload.length / 200)) {
      const payload = record.payload.slice()
      payload[at] = (payload[at] ?? 0) ^ (1 << (at % 8))
      expect(['RECORD_CORRUPT', 'DIVERGED', 'FORMAT_VERSION']).toContain(
        codeOf(() => follower.apply({ ...record, payload })),
      )
    }
    expect(follower.dump(ALL)).toEqual(before)
    follower.apply(record)
    expect(follower.dump(ALL)).toEqual(leader.dump(ALL))
  })

  it('a group that changed nothing is no record', async () => {
    const { leader, follower } = await pair(bench)
    expect(leader.group(['select 1', 'delete from t where id > 99'])).toEqual([])
    expect(leader.group(['update t set v = v where id = 99'])).toEqual([])
    for (const record of leader.group(['delete from t'])) follower.apply(record)
    expect(follower.dump(ALL)).toEqual(leader.dump(ALL))
  })
}

/**
 * The files as a kill leaves them. Another process reads them: closing one here would drop the locks that SQLite holds in
 * this process.
 */
function copyAsKilled(from: string, to: string): void {
  for (const suffix of ['', '-wal']) {
    const code = 'require("node:fs").copyFileSync(process.argv[1], process.argv[2])'
    if (existsSync(from + suffix)) execFileSync(process.execPath, ['-e', code, from + suffix, to + suffix])
  }
}
