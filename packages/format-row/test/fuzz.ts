/**
 * Feeds mutated payloads to an applier on a real database: no crash, no hang, never a wrong row without a word.
 *
 * 1. Half of the mutants are damaged bytes. The others are decoded, changed within (rows doubled, dropped or moved, values,
 *    names and flags exchanged) and encoded again, because few damaged bytes get behind the decoder.
 * 2. One that is accepted must have done exactly what another reader makes of its bytes (`plain-reading.ts`), the triggers
 *    that it brought must come back, and the schema it names must be the one that was there.
 * 3. One that is refused must leave the database as it was, after the rollback.
 * 4. A run over 50 ms is tried again, so that a machine under load is told from a payload that is slow by itself.
 */
import type { StatementSync } from 'node:sqlite'
import { isUnderstudyError } from '@understudy/contracts'
import { rowFormat } from '../src/index.ts'
import { mutantOf, type Base } from './fuzz-mutants.ts'
import { randomNumbers } from '@understudy/testkit'
import { TestNode, type Write } from './helpers.ts'
import { doPlainly, plainCodec, type PlainCodec } from './plain-reading.ts'

const LIMIT_MS = 50

const SETUP = `
  create table kv (id integer primary key autoincrement, k text, v, n integer default 7, g as (n + 1) stored);
  create table p (id integer primary key); create table c (id integer primary key, p references p on delete cascade);
  create table w (k text not null, l integer not null, at, primary key (l, k)) without rowid;
  create table nc (k text collate nocase primary key not null, v); create table loose (k not null primary key, v real);
  create table u (id integer primary key, a integer unique, b text, unique (b, a)) strict;
  create table s (id integer primary key, r real, t text, z blob check (length(z) < 9)) strict;
  create virtual table f using fts5 (body); create virtual table box using rtree (id, x0, x1);
  create view names as select k from kv;
  create trigger t1 after insert on kv begin insert into c (p) select id from p limit 1; end;
  create trigger t2 instead of delete on names begin delete from kv where k = old.k; end;
  insert into kv (k, v, n) values ('a', 1, 1), ('b', 2.5, 2), ('c', x'0102', 3), (null, null, null);
  insert into p values (1), (2), (3); insert into c values (1, 1), (2, 2);
  insert into w values ('x', 1, 1), ('y', 2, 'two'), ('z', -3, null); insert into nc values ('abc', 1), ('Q', 2);
  insert into loose values (1, 1.5), ('1', 2), (x'31', 3); insert into f values ('hello world'); insert into box values (1, 0, 1);
  insert into u values (1, 1, 'x'), (2, 2, 'y'), (3, 3, 'z'); insert into s values (1, 1.5, 'one', x'01'), (2, null, null, null);
  analyze; pragma user_version = 5`

/** Each group is recorded on the state that `SETUP` leaves, and rolled back. */
const GROUPS: readonly (readonly Write[])[] = [
  [
    `insert into kv (k, v, n) values ('new', 9223372036854775807, -9223372036854775808), ('', -0.0, 0), ('é', zeroblob(70), 300)`,
    `insert into kv (id, k, v) values (100, cast(x'ff61' as text), 9e999)`,
  ],
  [`update kv set v = 'changed', n = n + 1 where id < 3; delete from kv where id > 2`],
  [`delete from p where id = 1; insert into c values (7, 3); update c set p = 2`],
  [
    `update w set at = at || 'x' where l > 0; insert into w values ('q', 9, 9), ('x', 2, x''); delete from w where l = -3`,
  ],
  [
    `update nc set k = 'ABC' where k = 'abc'; insert or replace into nc values ('q', 3); delete from loose where k = '1'`,
    `update loose set k = 1.0 where k = 1; insert into loose values (2.5, -1)`,
  ],
  [
    `update u set a = -a; update u set a = case a when -1 then 2 when -2 then 1 else 3 end; update u set b = 'same' where id = 3`,
    `insert into s values (3, 2, 'three', x'ff'); update s set r = 1e300, z = x'00' where id = 2`,
  ],
  [
    `create table made (id integer primary key autoincrement, a); insert into made (a) values (2), (4)`,
    `alter table made add column b default 'x'; insert into made (a) values (6); create index made_a on made (a)`,
    `create trigger t3 after update on made begin insert into p (id) values (null); end`,
  ],
  [`drop table c; drop trigger t2; insert into p values (9)`, 'create view v as select * from p'],
  [`pragma user_version = -77; pragma application_id = 2147483647`, 'delete from sqlite_sequence'],
  [`insert into f values ('more words'); update f set body = 'other' where rowid = 1; delete from box`],
  [`insert into box values (2, -1, 5), (3, 2, 2.5); insert into kv (k) values ('x'); analyze`],
  [
    `drop trigger t1; create trigger "t 1" before delete on w when old.l > 1 begin select raise(abort, ';'); end`,
  ],
]

export interface FuzzOptions {
  readonly seed: number
  readonly runs: number
  /** What is said about runs over 50 ms. */
  readonly note?: (line: string) => void
}

export interface FuzzResult {
  accepted: number
  refused: Map<string, number>
  /** The longest run, pauses of the machine included. */
  longestMs: number
  over50Ms: number
  /** Payloads that took more than 50 ms each time. */
  slow: number
}

/** Throws at the first payload that does what none may do. */
export function fuzz({ seed, runs, note }: FuzzOptions): FuzzResult {
  const random = randomNumbers(seed === 0 ? 1 : seed)
  const codec = plainCodec()
  const bases = recordBases(codec)
  const trial = new Trial(codec)
  for (const { payload } of bases) {
    const problem = trial.tryOne(payload, payload)
    if (problem !== undefined || trial.result.refused.size > 0) {
      throw new Error(`a base is not applied: ${problem ?? [...trial.result.refused.keys()].join()}`)
    }
  }
  trial.result.accepted = 0
  for (let run = 0; run < runs; run += 1) {
    const base = bases[random(bases.length)] as Base
    const mutant = mutantOf(base, bases, codec, random)
    const where = (): string => `seed ${seed}, run ${run}, ${Buffer.from(mutant).toString('hex')}`
    const problem = trial.tryOne(mutant, base.payload, (tookMs, alone) =>
      note?.(`${tookMs.toFixed(1)} ms, alone ${alone.toFixed(1)} ms: ${where()}`),
    )
    if (problem !== undefined) throw new Error(`${problem}: ${where()}`)
  }
  return trial.result
}

/** A follower, and a database of which plain SQL makes what the follower should be. */
class Trial {
  readonly result: FuzzResult = { accepted: 0, refused: new Map(), longestMs: 0, over50Ms: 0, slow: 0 }
  readonly #codec: PlainCodec
  readonly #follower = new TestNode(SETUP).follow()
  readonly #other = new TestNode(SETUP).follow()
  readonly #followerDump = new Dump(this.#follower)
  readonly #otherDump = new Dump(this.#other)
  readonly #atFirst = this.#followerDump.read().join('\n')
  #runs = 0

  constructor(codec: PlainCodec) {
    this.#codec = codec
  }

  /** What is wrong, if anything. `slow` is told how long it took, and how long at least when tried again. */
  tryOne(
    payload: Uint8Array,
    base: Uint8Array,
    slow?: (tookMs: number, alone: number) => void,
  ): string | undefined {
    const { result } = this
    const { error, tookMs } = this.#apply(payload)
    const ended = !this.#follower.database.isTransaction
    let problem: string | undefined
    if (error === undefined) {
      result.accepted += 1
      problem = ended ? 'it ended the transaction' : this.#compare(payload, base)
    } else if (isUnderstudyError(error)) {
      result.refused.set(error.code, (result.refused.get(error.code) ?? 0) + 1)
    } else problem = `it threw ${error instanceof Error ? error.message : 'something'}`
    this.#rollBack()
    result.longestMs = Math.max(result.longestMs, tookMs)
    if (tookMs > LIMIT_MS) {
      let alone = tookMs
      for (let again = 0; again < 5; again += 1) {
        alone = Math.min(alone, this.#apply(payload).tookMs)
        this.#rollBack()
      }
      result.over50Ms += 1
      if (alone > LIMIT_MS) result.slow += 1
      slow?.(tookMs, alone)
    }
    if (problem !== undefined) return problem
    // What keeps its transaction is rolled back by SQLite: enough to look at that now and then.
    this.#runs += 1
    if (!ended && this.#runs % 50 > 0) return undefined
    const isSame = this.#followerDump.read().join('\n') === this.#atFirst
    return isSame ? undefined : 'this one or one of the last 50 left something behind after the rollback'
  }

  #apply(payload: Uint8Array): { error: unknown; tookMs: number } {
    this.#follower.database.exec('begin')
    const start = performance.now()
    let error: unknown
    try {
      this.#follower.applier?.apply(payload)
    } catch (thrown) {
      error = thrown ?? new Error('nothing')
    }
    return { error, tookMs: performance.now() - start }
  }

  #rollBack(): void {
    const { database } = this.#follower
    if (database.isTransaction) database.exec('rollback')
  }

  #compare(payload: Uint8Array, base: Uint8Array): string | undefined {
    const group = this.#codec.decode(payload)
    const other = this.#other
    if (Buffer.compare(group.schema, this.#codec.decode(base).schema) !== 0) return 'it names another schema'
    other.database.exec('begin')
    try {
      // It writes the rows of shadow tables by SQL.
      other.database.enableDefensive(false)
      doPlainly(other.database, group)
      const [actual, expected] = [this.#followerDump.read(), this.#otherDump.read()]
      // Objects come first, so both have the same number of texts where these are the same.
      const line = expected.findIndex((text, index) => text !== actual[index])
      if (line >= 0) return `it left ${actual[line]} where it says ${expected[line]}`
    } catch (error) {
      return `it was accepted, and what it says cannot be done (${String(error)})`
    } finally {
      other.database.exec('rollback')
    }
    if (group.triggers === undefined) return undefined
    const triggers = group.triggers.triggers ?? []
    try {
      this.#follower.applier?.restore()
    } catch (error) {
      return `its triggers cannot be put back (${String(error)})`
    }
    const [count] = this.#follower.all(`select count(*) from sqlite_schema where type = 'trigger'`)
    return count?.[0] === triggers.length ? undefined : 'not all of its triggers came back'
  }
}

function recordBases(codec: PlainCodec): Base[] {
  return (['group', 'write'] as const).flatMap((boundaries) =>
    GROUPS.flatMap((group) => {
      const leader = new TestNode(SETUP, rowFormat({ boundaries })).lead()
      const { payloads, errors } = leader.group(...group)
      if (errors.length > 0) throw errors[0]
      // A later payload of one group stands on the one before.
      return payloads.slice(0, 1).map((payload) => ({ payload, group: codec.decode(payload) }))
    }),
  )
}

/** Everything in a database: its objects, the rows of each table in order of their text, pragmas; a text for each. */
class Dump {
  readonly #node: TestNode
  readonly #objects: StatementSync
  readonly #pragmas: StatementSync
  /** Of the schema as it was first; another one is read afresh. */
  readonly #first: { readonly objects: string; readonly rows: StatementSync }

  constructor(node: TestNode) {
    this.#node = node
    this.#objects = arrays(node, 'select type, name, tbl_name, sql from sqlite_schema order by type, name')
    this.#pragmas = arrays(node, 'select * from pragma_user_version, pragma_application_id')
    const objects = JSON.stringify(this.#objects.all())
    this.#first = { objects, rows: arrays(node, `select ${rowTexts(node).join()}`) }
  }

  read(): string[] {
    const objects = JSON.stringify(this.#objects.all())
    const statement =
      objects === this.#first.objects
        ? this.#first.rows
        : arrays(this.#node, `select ${rowTexts(this.#node).join()}`)
    const texts = statement.get() as unknown as string[]
    return [objects, JSON.stringify(this.#pragmas.get()), ...texts]
  }
}

function arrays(node: TestNode, sql: string): StatementSync {
  const statement = node.database.prepare(sql)
  statement.setReturnArrays(true)
  return statement
}

/** For each table an expression of the values and types of all its rows. */
function rowTexts(node: TestNode): string[] {
  const tables = node.all(
    `select name from sqlite_schema where type = 'table' and rootpage > 0 order by name`,
  )
  return tables.map(([table]) => {
    const name = String(table).replaceAll('"', '""')
    const columns = node.database.prepare('select name from pragma_table_xinfo(?)').all(String(table))
    // Text may be no UTF-8, which JavaScript would not tell apart.
    const row = columns
      .map(({ name: column }) => `"${String(column).replaceAll('"', '""')}"`)
      .map(
        (column) =>
          `substr(typeof(${column}), 1, 2) || case typeof(${column}) when 'text' then hex(${column}) else quote(${column}) end`,
      )
      .join(` || ',' || `)
    return `'${name.replaceAll("'", "''")}: ' || coalesce((select group_concat(r, ';') from (select ${row} as r from "${name}" order by 1)), '')`
  })
}
