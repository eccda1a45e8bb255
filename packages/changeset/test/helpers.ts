import { DatabaseSync } from 'node:sqlite'

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
export const unhex = (text: string): Uint8Array =>
  new Uint8Array(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'))

/** The changeset, or patchset, of what `change` does to a database that `setup` made. */
export function record(
  setup: string,
  change: (database: DatabaseSync) => void,
  kind: 'changeset' | 'patchset' = 'changeset',
): Uint8Array {
  using database = new DatabaseSync(':memory:')
  database.exec(setup)
  const session = database.createSession()
  change(database)
  return session[kind]()
}

/** Every row of every table, with types. */
export function rowsOf(database: DatabaseSync): string[] {
  const tables = database.prepare(`select name from sqlite_schema where type = 'table' order by name`).all()
  return tables.flatMap(({ name }) => {
    const columns = database.prepare('select name from pragma_table_info(?)').all(String(name))
    const list = columns.map((column) => `quote("${String(column['name'])}")`).join(` || ',' || `)
    return database
      .prepare(`select ${list} as line from "${String(name)}" order by 1`)
      .all()
      .map((row) => `${String(name)} ${String(row['line'])}`)
  })
}
