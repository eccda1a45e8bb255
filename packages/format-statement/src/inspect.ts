/** What must hold for a database before its statements can be replicated. */
import { UnderstudyError, type SqliteConnection } from '@understudy/contracts'

/**
 * Throws `DATABASE_UNSUITABLE` for TEMP triggers, which fire on this connection alone, and for `trusted_schema = off`,
 * with which DEFAULTs, triggers and views could not call the functions that are captured.
 */
export function inspectDatabase(connection: SqliteConnection): void {
  const { database, ownTablePrefix } = connection
  connection.internal(() => {
    const triggers = database
      .prepare(`select name, tbl_name as owner from temp.sqlite_schema where type = 'trigger'`)
      .all()
      .filter(({ name }) => !String(name).toLowerCase().startsWith(ownTablePrefix))
    const [first] = triggers
    if (first !== undefined) {
      throw new UnderstudyError(
        'DATABASE_UNSUITABLE',
        `setup() made the TEMP trigger ${String(first['name'])} on ${String(first['owner'])}. What it does would happen on ` +
          'this connection alone. The database was not changed. Make it a trigger of the database, or leave it out.',
        { reason: 'TEMP_TRIGGER', triggers: triggers.map(({ name }) => String(name)) },
      )
    }
    const row = database.prepare('pragma trusted_schema').get()
    if (Number(Object.values(row ?? {})[0]) === 1) return
    throw new UnderstudyError(
      'DATABASE_UNSUITABLE',
      'PRAGMA trusted_schema is off, so that no DEFAULT, trigger or view may call the functions that statements are ' +
        'captured and replayed with. The database was not changed. Leave it on in setup(), or replicate rows instead.',
      { reason: 'TRUSTED_SCHEMA' },
    )
  })
}
