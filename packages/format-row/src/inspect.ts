/** What must hold for a database before the row format can replicate it. */
import { UnderstudyError, type SqliteConnection } from '@understudy/contracts'
import { readSchema } from './schema.ts'
import { number, quote } from './sql.ts'
import { KEYLESS_ADVICE } from './statements.ts'

/**
 * Throws `DATABASE_UNSUITABLE` for tables without PRIMARY KEY and for rows with NULL in a key column. Reads every table
 * whose key can hold NULL.
 */
export function inspectDatabase(connection: SqliteConnection): void {
  const { database, ownTablePrefix } = connection
  connection.internal(() => {
    const schema = readSchema(database, ownTablePrefix)
    if (schema.keyless.size > 0) {
      const tables = [...schema.keyless]
      throw new UnderstudyError(
        'DATABASE_UNSUITABLE',
        `These tables have no PRIMARY KEY, so their rows have no identity and cannot be replicated: ${tables.join(', ')}. ` +
          `The database was not changed. ${KEYLESS_ADVICE}`,
        { reason: 'TABLE_WITHOUT_PRIMARY_KEY', tables },
      )
    }
    for (const table of schema.tables.values()) {
      for (const column of table.nullableKey) {
        const from = `main.${quote(table.name)} where ${quote(column)} is null`
        const rows = number(database, `select count(*) from ${from}`)
        if (rows === 0) continue
        throw new UnderstudyError(
          'DATABASE_UNSUITABLE',
          `Table ${table.name} has ${rows} rows with NULL in its PRIMARY KEY column ${column}; they have no identity and ` +
            'cannot be replicated. The database was not changed. Give them a key or delete them.',
          { reason: 'NULL_IN_PRIMARY_KEY', table: table.name, column, rows },
        )
      }
    }
  })
}
