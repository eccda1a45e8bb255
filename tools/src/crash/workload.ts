/**
 * The load of the crash tests: each write follows from its writer and serial alone, so what a database must hold follows
 * from how far each writer got.
 *
 * Decides what a write does (`applyWrite`) and what it leaves (`Model`); the two are written apart, one in SQL and one in
 * plain maps. Leaves to others who runs it and who remembers what was acknowledged (`oracle.ts`).
 *
 * 1. A writer sends serial n + 1 only after n was acknowledged or is found in the database.
 * 2. Each write moves its writer's row of `progress` in the same transaction as everything else it does.
 */
import type { ReadTransaction, WriteTransaction } from '@understudy/contracts'

/** The tables that every writer needs; the rest comes and goes by DDL of writer 0. */
export const SCHEMA: readonly string[] = [
  'create table progress (writer integer primary key, serial integer not null)',
  'create table item (writer integer, id integer, serial integer not null, body text not null, primary key (writer, id))',
  'create index item_serial on item (serial)',
  'create table bulk (id integer primary key, serial integer not null, body text not null)',
]

const IDS = 40
const BULK_ROWS = 1500
const BULK_BODY = 'b'.repeat(150)
/** Writer 0 makes, changes and drops a table of its own; writer 1 replaces the whole of `bulk`. */
const DDL_WRITER = 0
const DDL_PERIOD = 60
const BULK_WRITER = 1
const BULK_PERIOD = 90

/** What a writer's rows hold: id to the serial that wrote it. */
type Items = Map<number, number>

/** Runs write `serial` of `writer`. */
export function applyWrite(tx: WriteTransaction, writer: number, serial: number): void {
  tx.run('insert or replace into progress (writer, serial) values (?, ?)', [writer, serial])
  if (writer === DDL_WRITER) applyDdl(tx, serial)
  if (writer === BULK_WRITER && serial % BULK_PERIOD === 0) {
    tx.run('delete from bulk')
    tx.run(
      `with recursive n(i) as (select 1 union all select i + 1 from n where i < ?)
       insert into bulk (id, serial, body) select i, ?, ? || i from n`,
      [BULK_ROWS, serial, BULK_BODY],
    )
  }
  const { kind, ids } = actionOf(writer, serial)
  for (const id of ids) {
    const body = bodyOf(writer, id, serial)
    if (kind === 'delete') tx.run('delete from item where writer = ? and id = ?', [writer, id])
    else if (kind === 'update')
      tx.run('update item set serial = ?, body = ? where writer = ? and id = ?', [serial, body, writer, id])
    else
      tx.run(
        `insert into item (writer, id, serial, body) values (?, ?, ?, ?)
         on conflict (writer, id) do update set serial = excluded.serial, body = excluded.body`,
        [writer, id, serial, body],
      )
  }
}

function applyDdl(tx: WriteTransaction, serial: number): void {
  const phase = serial % DDL_PERIOD
  const table = `extra_${serial - phase}`
  if (phase === 10) {
    tx.exec(`create table ${table} (id integer primary key, v text); create index ${table}_v on ${table} (v)`)
    tx.run(`insert into ${table} (v) values ('one'), ('two'), ('three')`)
  }
  if (phase === 20) tx.exec(`alter table ${table} add column note text default 'none'`)
  if (phase === 30) tx.run(`update ${table} set note = v || ? where id > 1`, [serial])
  if (phase === 50) tx.exec(`drop table ${table}`)
}

/** What a database says of the load. */
export interface LoadState {
  /** Writer and serial. */
  readonly progress: readonly (readonly [writer: number, serial: number])[]
  readonly items: readonly (readonly [writer: number, id: number, serial: number, body: string])[]
  readonly bulk: { readonly rows: number; readonly lowest: number | null; readonly highest: number | null }
  /** Tables of the DDL writer. */
  readonly extra: readonly string[]
  /** Answer of `pragma integrity_check`, or of `quick_check`. */
  readonly integrity: string
}

/** Reads the whole state; `thorough` for a full integrity check. */
export function readState(tx: ReadTransaction, thorough: boolean): LoadState {
  const tables = tx
    .all("select name from sqlite_schema where type = 'table'")
    .map((row) => String(row['name']))
  const integrity = tx.get(thorough ? 'pragma integrity_check' : 'pragma quick_check')
  const has = tables.includes('bulk')
  const bulk = has
    ? tx.get('select count(*) as n, min(serial) as low, max(serial) as high from bulk')
    : undefined
  return {
    progress: has
      ? tx
          .all('select writer, serial from progress')
          .map((row) => [Number(row['writer']), Number(row['serial'])])
      : [],
    items: has
      ? tx
          .all('select writer, id, serial, body from item')
          .map((row) => [
            Number(row['writer']),
            Number(row['id']),
            Number(row['serial']),
            String(row['body']),
          ])
      : [],
    bulk: {
      rows: Number(bulk?.['n'] ?? 0),
      lowest: (bulk?.['low'] ?? null) as number | null,
      highest: (bulk?.['high'] ?? null) as number | null,
    },
    extra: tables.filter((name) => name.startsWith('extra_')),
    integrity: String(Object.values(integrity ?? {})[0]),
  }
}

/** What the database must hold, computed without a database. */
export class Model {
  readonly #serials = new Map<number, number>()
  readonly #items = new Map<number, Items>()

  serialOf(writer: number): number {
    return this.#serials.get(writer) ?? 0
  }

  /** Takes a writer forward, write by write. */
  advance(writer: number, serial: number): void {
    const items = this.#items.get(writer) ?? new Map<number, number>()
    this.#items.set(writer, items)
    for (let next = this.serialOf(writer) + 1; next <= serial; next++) {
      const { kind, ids } = actionOf(writer, next)
      for (const id of ids) {
        if (kind === 'delete') items.delete(id)
        else if (kind === 'upsert' || items.has(id)) items.set(id, next)
      }
    }
    this.#serials.set(writer, Math.max(serial, this.serialOf(writer)))
  }

  /** The differences to what a database holds, in words; empty when there are none. */
  differences(state: LoadState): string[] {
    const found: string[] = []
    if (state.integrity !== 'ok') found.push(`integrity check: ${state.integrity}`)
    const seen = new Map<number, Set<number>>()
    for (const [writer, id, serial, body] of state.items) {
      const expected = this.#items.get(writer)?.get(id)
      if (expected !== serial)
        found.push(`item ${writer}/${id} is of write ${serial}, not ${expected ?? 'gone'}`)
      else if (body !== bodyOf(writer, id, serial)) found.push(`item ${writer}/${id} has another body`)
      seen.set(writer, (seen.get(writer) ?? new Set()).add(id))
    }
    for (const [writer, items] of this.#items)
      for (const [id, serial] of items)
        if (seen.get(writer)?.has(id) !== true)
          found.push(`item ${writer}/${id} of write ${serial} is missing`)
    const bulk = this.serialOf(BULK_WRITER) - (this.serialOf(BULK_WRITER) % BULK_PERIOD)
    const expected = bulk === 0 ? [0, null, null] : [BULK_ROWS, bulk, bulk]
    const actual = [state.bulk.rows, state.bulk.lowest, state.bulk.highest]
    if (String(expected) !== String(actual)) found.push(`bulk holds ${actual.join()}, not ${expected.join()}`)
    const phase = this.serialOf(DDL_WRITER) % DDL_PERIOD
    const extra = phase >= 10 && phase < 50 ? [`extra_${this.serialOf(DDL_WRITER) - phase}`] : []
    if (String(extra) !== String(state.extra)) found.push(`tables ${state.extra.join()}, not ${extra.join()}`)
    return found
  }
}

interface Action {
  readonly kind: 'upsert' | 'update' | 'delete'
  readonly ids: readonly number[]
}

function actionOf(writer: number, serial: number): Action {
  const draw = mix(writer, serial)
  const id = (draw >>> 8) % IDS
  const dice = draw % 100
  if (dice < 45) return { kind: 'upsert', ids: [id] }
  if (dice < 70) return { kind: 'update', ids: [id] }
  if (dice < 90) return { kind: 'delete', ids: [id] }
  return { kind: 'upsert', ids: [id, (id + 7) % IDS, (id + 14) % IDS] }
}

function bodyOf(writer: number, id: number, serial: number): string {
  return `${writer}-${id}-${serial} ${'x'.repeat(mix(id, serial) % 200)}`
}

/** 32 bits that look drawn (the finaliser of MurmurHash3). */
function mix(a: number, b: number): number {
  let h = Math.imul(a + 1, 0x9e3779b1) ^ Math.imul(b + 1, 0x85ebca77)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
