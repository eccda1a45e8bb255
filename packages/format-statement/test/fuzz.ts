/**
 * Feeds mutated payloads to an applier on a real database: no crash, no hang, never a wrong row without a word.
 *
 * Half of the payloads are sealed again, with a checksum that fits, so that what lies behind it is tried as well.
 * In reality the CRC of the record comes before all this.
 */
import type { Session } from 'node:sqlite'
import { crc32 } from 'node:zlib'
import { isUnderstudyError } from '@understudy/contracts'
import { randomNumbers } from '@understudy/testkit'
import type { DescribedPayload } from '../src/index.ts'
import { digestTables } from '../src/tripwire.ts'
import { TestNode, type Write } from './helpers.ts'

const SETUP = `
  create table kv (id integer primary key autoincrement, k text, v, n integer default (random()));
  create table p (id integer primary key); create table c (id integer primary key, p references p on delete cascade);
  create table loose (a, b); create table w (k text primary key, at default current_timestamp) without rowid;
  create virtual table f using fts5 (body);
  create trigger t after insert on kv begin insert into loose values (new.id, last_insert_rowid()); end;
  insert into kv (k, n) values ('a', 1), ('b', 2), ('c', 3); insert into p values (1), (2); insert into c values (1, 1), (2, 2);
  insert into w (k, at) values ('x', 1), ('y', 2); insert into f values ('hello world')`

const INSERT = 'insert into kv (k, v, n) values (?, ?, ?)'

/** Groups, each on the state that `SETUP` and the first group leave. */
const FIRST: readonly Write[] = [
  (connection) => [1, 2].forEach((value) => connection.exec(INSERT, [`first ${value}`, null, value])),
]
const GROUPS: readonly (readonly Write[])[] = [
  Array.from(
    { length: 5 },
    (_, index): Write =>
      (connection) =>
        connection.exec(INSERT, [`key ${index}`, new Uint8Array([1, 2, 255]), BigInt(index)]),
  ),
  [
    (connection) =>
      connection.exec('insert into kv (k, v, n) values (:k, $v, @n)', {
        k: 'x'.repeat(80),
        v: -1.5,
        n: 2n ** 60n,
      }),
    `update kv set v = 'changed' where n < 3; delete from p where id = 1`,
  ],
  [
    `insert into w (k) values ('z'), ('q'), ('r'); update w set at = datetime('now', 'localtime') where k > 'x'`,
    'insert into kv (k, v) values (randomblob(8), random())',
  ],
  [
    'create table made (id integer primary key, a); insert into made values (1, 2), (3, 4); alter table made add column b',
  ],
  ['pragma user_version = 77', 'insert into loose values (5, 6); delete from loose where a = 1'],
  [`insert into f values ('more words'); update f set body = 'other' where rowid = 1`],
  [
    (connection) => {
      try {
        connection.exec('insert or fail into kv (id, k) values (20, 1), (21, 2), (1, 3)')
      } catch {
        // Part of it stays.
      }
    },
    'pragma defer_foreign_keys = 1; insert into c values (9, 9); insert into p values (9)',
  ],
  [
    (connection) => {
      connection.exec('update kv set n = n + 1')
      throw new Error('undone')
    },
    (connection) => [1, 2].forEach((value) => connection.exec('update kv set n = ? where id <= 2', [value])),
  ],
]

export interface FuzzOptions {
  readonly seed: number
  readonly runs: number
}

export interface FuzzResult {
  accepted: number
  refused: Map<string, number>
  /** The longest run. */
  longestMs: number
  /** Payloads that took more than 50 ms each of several times: a machine under load pauses, a slow payload is always slow. */
  slow: number
}

const LIMIT_MS = 50
const REPEATS = 3

/** Throws at the first payload that does what none may do. */
export function fuzz({ seed, runs }: FuzzOptions): FuzzResult {
  const random = randomNumbers(seed)
  const { bases, follower } = prepare()
  const valid = new Set(bases.map((base) => Buffer.from(base).toString('hex')))
  const state = stateOf(follower)
  const expected = state()
  const result = { accepted: 0, refused: new Map<string, number>(), longestMs: 0, slow: 0, tookMs: 0 }
  for (let run = 0; run < runs; run += 1) {
    const sealed = random(2) === 0
    const payload = mutated(bases, random, sealed)
    const problem = tryOne(follower, payload, result, sealed ? undefined : valid)
    if (follower.database.isTransaction) follower.database.exec('rollback')
    if (result.tookMs > LIMIT_MS && isSlow(follower, payload)) result.slow += 1
    if (problem === undefined && state() === expected) continue
    throw new Error(
      `seed ${seed}, run ${run}: ${problem ?? 'the database is another one after the rollback'}: ${Buffer.from(payload).toString('hex')}`,
    )
  }
  return result
}

function tryOne(
  follower: TestNode,
  payload: Uint8Array,
  result: FuzzResult & { tookMs: number },
  valid: ReadonlySet<string> | undefined,
): string | undefined {
  const { database } = follower
  database.exec('begin')
  const session = database.createSession()
  try {
    const start = performance.now()
    const error = thrownBy(() => follower.applier?.apply(payload))
    result.tookMs = performance.now() - start
    result.longestMs = Math.max(result.longestMs, result.tookMs)
    if (error !== undefined) {
      if (!isUnderstudyError(error)) return `it threw ${error instanceof Error ? error.message : 'something'}`
      result.refused.set(error.code, (result.refused.get(error.code) ?? 0) + 1)
      return undefined
    }
    result.accepted += 1
    if (!database.isTransaction) return 'it ended the transaction'
    if (valid !== undefined) {
      const isValid = valid.has(Buffer.from(payload).toString('hex'))
      return isValid ? undefined : 'it was accepted and is none of the valid ones'
    }
    return keepsItsDigest(follower, payload, session) ? undefined : 'it did not do what its digest says'
  } finally {
    session.close()
  }
}

/** Whether it takes as long each time again. */
function isSlow({ database, applier }: TestNode, payload: Uint8Array): boolean {
  return Array.from({ length: REPEATS }).every(() => {
    database.exec('begin')
    const start = performance.now()
    thrownBy(() => applier?.apply(payload))
    const tookMs = performance.now() - start
    if (database.isTransaction) database.exec('rollback')
    return tookMs > LIMIT_MS
  })
}

function thrownBy(run: () => void): unknown {
  try {
    run()
  } catch (error) {
    return error ?? new Error('nothing')
  }
  return undefined
}

/** A sealed payload may be another valid one: then it must have done what its own digest says. */
function keepsItsDigest(node: TestNode, payload: Uint8Array, session: Session): boolean {
  const described = node.format.describe?.(payload) as DescribedPayload
  const { digest } = described
  // Our own session, other than the applier's, does not answer across schema changes.
  const changesSchema = described.writes
    .flat()
    .some(({ sql }) => /^[;\s]*(create|alter|drop)/i.test(sql ?? ''))
  if (digest.kind === 'none' || changesSchema) return true
  const own = digestTables(session.changeset(), digest.kind !== 'changeset', Buffer.from('_understudy_'))
  const text = own.map(({ table, rows, crc }) => `${table} ${rows} ${crc.toString(16).padStart(8, '0')}`)
  return text.join() === digest.tables.map(({ table, rows, crc }) => `${table} ${rows} ${crc}`).join()
}

function prepare(): { bases: Uint8Array[]; follower: TestNode } {
  const leader = new TestNode(SETUP).lead()
  const follower = new TestNode(SETUP).follow()
  follower.apply(leader.payload(...FIRST))
  const bases = GROUPS.map((group) => {
    const recorder = leader.recorder
    if (recorder === undefined) throw new Error('no recorder')
    leader.database.exec('begin')
    recorder.beginGroup()
    for (const write of group) {
      leader.database.exec('savepoint w')
      try {
        recorder.beginWrite()
        if (typeof write === 'string') leader.connection.exec(write)
        else write(leader.connection)
        recorder.endWrite()
      } catch {
        leader.database.exec('rollback to w')
        recorder.abandonWrite()
      }
      leader.database.exec('release w')
    }
    const [payload] = recorder.finishGroup()
    leader.database.exec('rollback')
    recorder.abandonGroup()
    if (payload === undefined) throw new Error('a group without a payload')
    return payload
  })
  // Each of them applies, before anything is mutated.
  for (const base of bases) {
    follower.database.exec('begin')
    follower.applier?.apply(base)
    follower.database.exec('rollback')
  }
  return { bases, follower }
}

/** All rows of all tables, the dictionary too, in one text. */
function stateOf({ database }: TestNode): () => string {
  const tables = database
    .prepare(
      `select name from sqlite_schema where type = 'table' and rootpage > 0 and name <> 'sqlite_sequence'`,
    )
    .all()
    .map(({ name }) => String(name))
  const parts = tables.map((table) => {
    const columns = database.prepare('select name from pragma_table_info(?)').all(table)
    const row = columns.map(({ name }) => `quote("${String(name)}")`).join(` || ',' || `)
    return `coalesce((select group_concat(${row}, ';') from "${table}"), '')`
  })
  const statement = database.prepare(
    `select ${parts.join(` || '|' || `)} || (select count(*) from sqlite_schema)`,
  )
  statement.setReturnArrays(true)
  const version = database.prepare('pragma user_version')
  version.setReturnArrays(true)
  return () => JSON.stringify([statement.get(), version.get()])
}

function mutated(
  bases: readonly Uint8Array[],
  random: (below: number) => number,
  sealed: boolean,
): Uint8Array {
  const pick = (): Uint8Array => bases[random(bases.length)] as Uint8Array
  let bytes = [...pick()]
  // Behind the checksum little is decoded when lengths do not fit: mostly one byte at a time there.
  const isGentle = sealed && random(4) > 0
  for (let left = isGentle ? 1 : random(4) + 1; left > 0; left -= 1) {
    const at = random(bytes.length)
    switch (random(isGentle ? 2 : 6)) {
      case 0:
        bytes[at] = (bytes[at] as number) ^ (1 << random(8))
        break
      case 1:
        bytes[at] = random(256)
        break
      case 2:
        bytes.splice(at, random(8) + 1)
        break
      case 3:
        bytes.splice(at, 0, ...Array.from({ length: random(8) + 1 }, () => random(256)))
        break
      case 4: {
        const other = pick()
        const from = random(other.length)
        bytes.splice(at, random(20), ...other.subarray(from, from + random(20)))
        break
      }
      default:
        bytes = bytes.slice(0, at + 1)
    }
    if (bytes.length === 0) bytes = [1]
  }
  const payload = Uint8Array.from(bytes)
  return sealed ? seal(payload) : payload
}

/** With a checksum that fits. */
export function seal(payload: Uint8Array): Uint8Array {
  if (payload.length < 5) return payload
  const sealed = Buffer.from(payload)
  sealed.writeUInt32LE(crc32(sealed.subarray(0, -4)), sealed.length - 4)
  return new Uint8Array(sealed)
}
