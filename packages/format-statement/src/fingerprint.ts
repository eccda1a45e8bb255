/** What nodes must share so that the same statement does the same: the build of SQLite. */
import { createHash } from 'node:crypto'
import type { SqliteConnection } from '@understudy/contracts'

/** `SQLite 3.53.4, options 1a2b3c4d5e6f`. */
export function fingerprintOf(connection: SqliteConnection): string {
  return connection.internal(() => {
    const { database } = connection
    const version = database.prepare('select sqlite_version() as version').get()?.['version']
    const options = database
      .prepare('select compile_options as name from pragma_compile_options order by 1')
      .all()
      .map(({ name }) => String(name))
      // Says who compiled it, and changes nothing.
      .filter((name) => !name.startsWith('COMPILER='))
    const hash = createHash('sha256').update(options.join('\n')).digest('hex').slice(0, 12)
    return `SQLite ${String(version)}, options ${hash}`
  })
}

/** Why a peer cannot apply our records; `undefined` when it can. */
export function refusal(own: string, theirs: string): string | undefined {
  if (own === theirs) return undefined
  const [version] = own.split(', ')
  const [other] = theirs.split(', ')
  const what =
    version === other
      ? `the same version of SQLite (${String(version)}) was compiled with other options there (${theirs}; here ${own})`
      : `this node runs ${own}, the other one ${theirs === '' ? 'does not say what it runs' : theirs}`
  return (
    `Statements only do the same in the same build of SQLite, and ${what}. That is the price of this format: give both ` +
    "nodes the same Node.js, replicate rows instead, or allow it with statementFormat({ otherSqlite: 'allow' })."
  )
}
