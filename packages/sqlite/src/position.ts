/**
 * The position row: where a database says up to which record it holds its log.
 *
 * Decides: the table, how a database of an older version gets it, what a touch is. Leaves to others: which position is
 * stored when (`writer.ts`).
 *
 * 1. The table has no PRIMARY KEY, so that sessions do not see it, and one row, so that its root page holds it all.
 * 2. `ahead` is 1 when the transaction that stored the row is the physical one of the record right after the position.
 * 3. A touch writes the row's page into the log file and leaves it, byte for byte, as it was: `touch` goes to another
 *    value of two bytes and back, which SQLite overwrites in place. (An update to equal values would write no frame.)
 * 4. The table is used only when it is ours: a plain table with these columns, one row, and nothing that hangs on it.
 *    It may have come from elsewhere, with a file.
 * 5. A database that is up to date is not changed at open: its pages may be those of its leader.
 */
import { ORIGIN, UnderstudyError, type LogPoint } from '@understudy/contracts'
import type { Connection } from './connection.ts'
import { OWN_TABLE_PREFIX } from './guard.ts'

export const POSITION_TABLE: string = `${OWN_TABLE_PREFIX}position`

/** What the row says. */
export interface StoredPosition {
  readonly point: LogPoint
  readonly ahead: boolean
}

/** Columns that tables of version 0.1 lack. */
const LATER_COLUMNS: Readonly<Record<string, string>> = {
  ahead: 'integer not null default 0',
  touch: 'integer not null default 300',
}

/** The two statements of a touch, in one transaction. */
export const TOUCH: readonly [string, string] = [
  `update ${POSITION_TABLE} set touch = 301`,
  `update ${POSITION_TABLE} set touch = 300`,
]

/** Makes the table and its row, where they are missing. */
export function ensurePosition(connection: Connection): StoredPosition {
  const { database } = connection
  return connection.internal(() => {
    database.exec('begin immediate')
    try {
      database.exec(
        `create table if not exists ${POSITION_TABLE} (epoch integer not null, lsn integer not null, crc integer not null,
          ahead integer not null default 0, touch integer not null default 300)`,
      )
      checkKind(connection)
      addColumns(connection)
      database.exec(
        `insert into ${POSITION_TABLE} select 0, 0, 0, 0, 300 where not exists (select 1 from ${POSITION_TABLE})`,
      )
      checkContent(connection)
      const stored = readPosition(connection)
      database.exec('commit')
      return stored
    } catch (error) {
      database.exec('rollback')
      throw error
    }
  })
}

function addColumns({ database }: Connection): void {
  const columns = database.prepare('select name from pragma_table_info(?)').all(POSITION_TABLE)
  const names = new Set(columns.map(({ name }) => String(name)))
  const missing = Object.entries(LATER_COLUMNS).filter(([name]) => !names.has(name))
  if (missing.length === 0) return
  for (const [name, type] of missing)
    database.exec(`alter table ${POSITION_TABLE} add column ${name} ${type}`)
  // Until a row is written again it is stored without them, and a touch would not find its size unchanged.
  database.exec(`update ${POSITION_TABLE} set ahead = 0, touch = 300`)
}

/** Throws `DATABASE_UNSUITABLE` for anything of that name but a plain table on which nothing hangs. */
function checkKind({ database }: Connection): void {
  const objects = database
    .prepare('select type, sql from sqlite_schema where lower(name) = ?1 or lower(tbl_name) = ?1')
    .all(POSITION_TABLE)
  const [table] = objects
  const isPlain = table?.['type'] === 'table' && !/^\s*create\s+virtual/i.test(String(table['sql']))
  if (!isPlain) throw positionUnsuitable(database.location() ?? '', 'it is no plain table')
  if (objects.length > 1)
    throw positionUnsuitable(database.location() ?? '', 'a trigger or an index hangs on it')
}

function checkContent({ database }: Connection): void {
  const columns = database.prepare('select name from pragma_table_xinfo(?) order by cid').all(POSITION_TABLE)
  const names = columns.map(({ name }) => String(name)).join(' ')
  const rows = Number(database.prepare(`select count(*) as n from ${POSITION_TABLE}`).get()?.['n'])
  if (names !== 'epoch lsn crc ahead touch')
    throw positionUnsuitable(database.location() ?? '', 'it has other columns')
  if (rows !== 1) throw positionUnsuitable(database.location() ?? '', `it has ${rows} rows`)
}

/** `DATABASE_UNSUITABLE`: the position cannot be kept in this database. */
export function positionUnsuitable(path: string, reason: string): UnderstudyError {
  return new UnderstudyError(
    'DATABASE_UNSUITABLE',
    `The table ${POSITION_TABLE} of ${path} is not as a node made it: ${reason}. The file was kept as it is and is not used. ` +
      `On a follower, delete its directory and let it bootstrap; else restore the file from a copy.`,
    { path },
  )
}

/** The position row, as the connection sees it. */
export function readPosition(connection: Connection): StoredPosition {
  const row = connection.internal(() =>
    connection.database.prepare(`select epoch, lsn, crc, ahead from ${POSITION_TABLE}`).get(),
  )
  if (row === undefined) return { point: ORIGIN, ahead: false }
  const point = { epoch: Number(row['epoch']), lsn: Number(row['lsn']), crc: Number(row['crc']) }
  return { point, ahead: row['ahead'] === 1 }
}

/** The page that holds the row. */
export function positionPage(connection: Connection): number {
  const row = connection.internal(() =>
    connection.database.prepare('select rootpage from sqlite_schema where name = ?').get(POSITION_TABLE),
  )
  return Number(row?.['rootpage'] ?? 0)
}

/** Bytes of an integer by its serial type; 8 and 9 are the constants 0 and 1. */
const INTEGER_BYTES: Readonly<Record<number, number>> = { 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0 }
const LEAF_OF_TABLE = 0x0d

/**
 * The row in an image of its page (https://sqlite.org/fileformat2.html#record_format), which spares a query for each
 * transaction of pages. `undefined` when it is anything but what SQLite makes of the one row: then a query tells.
 */
export function readPositionImage(image: Uint8Array): StoredPosition | undefined {
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength)
  if (image[0] !== LEAF_OF_TABLE || view.getUint16(3) !== 1) return undefined
  // Payload size and rowid, each one byte, then the header of the record: its size, five types.
  const cell = view.getUint16(8)
  if (cell + 8 > image.length || (image[cell] ?? 128) > 127 || (image[cell + 1] ?? 128) > 127)
    return undefined
  if (image[cell + 2] !== 6) return undefined
  let offset = cell + 8
  const values: number[] = []
  for (let column = 0; column < 4; column++) {
    const type = image[cell + 3 + column] ?? 0
    const bytes = INTEGER_BYTES[type]
    if (bytes === undefined || offset + bytes > image.length) return undefined
    values.push(type === 8 ? 0 : type === 9 ? 1 : readInteger(view, offset, bytes))
    offset += bytes
  }
  const [epoch, lsn, crc, ahead] = values as [number, number, number, number]
  return { point: { epoch, lsn, crc }, ahead: ahead === 1 }
}

/** Big-endian, two's complement. */
function readInteger(view: DataView, offset: number, bytes: number): number {
  let value = view.getInt8(offset)
  for (let index = 1; index < bytes; index++) value = value * 256 + view.getUint8(offset + index)
  return value
}
