/**
 * The demo's tables, and the writes that its clients make of them. Each write is one transaction of several statements;
 * that a city's `visits` counts its rows in `visit` shows on every node that transactions are whole.
 */
import type { ClientStatement } from '@understudy/client'
import type { City } from './dataset.ts'

/** A row of `visit`. */
export interface Visit {
  readonly id: number
  readonly city: number
  readonly note: string
}

/** Lane of `tally` that the loader counts in; those of the writers are above. */
export const LOADER_LANE = 0

/** Makes the tables; `tally` counts the rows that each writer changed, so that a node can tell how far it shows them. */
export function createTables(lanes: number): ClientStatement[] {
  return [
    {
      sql: `create table city (
        id integer primary key, name text not null, lat real not null, lng real not null,
        country text not null, admin1 text not null, admin2 text not null, visits integer not null default 0
      ) strict`,
    },
    {
      sql: `create table visit (
        id integer primary key, city integer not null references city (id), note text not null
      ) strict`,
    },
    { sql: 'create table ticket (id integer primary key autoincrement, holder text not null) strict' },
    { sql: 'create table tally (lane integer primary key, rows integer not null) strict' },
    {
      sql: `insert into tally (lane, rows)
        with recursive lane (n) as (values (${LOADER_LANE}) union all select n + 1 from lane where n < ?) select n, 0 from lane`,
      params: [lanes],
    },
  ]
}

/** Rows that this node shows as changed, of all writers. */
export const ROWS_CHANGED = 'select sum(rows) from tally'

export function insertCities(cities: readonly City[]): ClientStatement[] {
  const rows = cities.map(({ id, name, lat, lng, country, admin1, admin2 }) => [
    id,
    name,
    lat,
    lng,
    country,
    admin1,
    admin2,
  ])
  const columns = [0, 1, 2, 3, 4, 5, 6].map((n) => `value ->> ${n}`).join(', ')
  return [
    {
      sql: `insert into city (id, name, lat, lng, country, admin1, admin2) select ${columns} from json_each(?)`,
      params: [JSON.stringify(rows)],
    },
    countRows(LOADER_LANE, cities.length + 1),
  ]
}

/** The first statement answers with the id of a ticket, which the client keeps elsewhere. */
export function insertVisit({ id, city, note }: Visit, lane: number): ClientStatement[] {
  return [
    { sql: 'insert into ticket (holder) values (?) returning id', params: [note] },
    { sql: 'insert into visit (id, city, note) values (?, ?, ?)', params: [id, city, note] },
    { sql: 'update city set visits = visits + 1 where id = ?', params: [city] },
    countRows(lane, 4),
  ]
}

export function updateVisit({ id, note }: Visit, lane: number): ClientStatement[] {
  return [{ sql: 'update visit set note = ? where id = ?', params: [note, id] }, countRows(lane, 2)]
}

export function deleteVisit({ id, city }: Visit, lane: number): ClientStatement[] {
  return [
    { sql: 'delete from visit where id = ?', params: [id] },
    { sql: 'update city set visits = visits - 1 where id = ?', params: [city] },
    countRows(lane, 3),
  ]
}

function countRows(lane: number, rows: number): ClientStatement {
  return { sql: 'update tally set rows = rows + ? where lane = ?', params: [rows, lane] }
}
