/** A connection whose observers are called within a function that times them, or keeps what they throw. */
import type { SqliteConnection } from '@understudy/contracts'
import type { Around } from '@understudy/replication'

export function watchedConnection(connection: SqliteConnection, around: Around): SqliteConnection {
  return {
    database: connection.database,
    ownTablePrefix: connection.ownTablePrefix,
    get pages() {
      return connection.pages
    },
    internal: (run) => connection.internal(run),
    guarded: (run) => connection.guarded(run),
    observe: (observer) =>
      connection.observe({
        before: (statement) => around(() => observer.before(statement)),
        after: (statement) => around(() => observer.after(statement)),
      }),
  }
}
