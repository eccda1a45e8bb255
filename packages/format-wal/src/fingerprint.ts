/**
 * What a peer's file must share with the leader's so that pages of one fit into the other.
 *
 * Decides: which properties, and what is said when they differ. Leaves to others: the handshake.
 */
import { UnderstudyError, type SqliteConnection } from '@understudy/contracts'
import { readDatabaseHeader } from '@understudy/sqlite-files'

const ENCODINGS = { utf8: 'UTF-8', utf16le: 'UTF-16le', utf16be: 'UTF-16be' } as const

/** Properties in order, each a name and a value without commas: `page size 4096, encoding UTF-8, …`. */
export function fingerprintOf(connection: SqliteConnection): string {
  const first = connection.pages.read(1)
  if (first === undefined)
    throw new UnderstudyError(
      'DATABASE_UNSUITABLE',
      'The database has no page yet, so its page size and encoding are not settled; nothing was changed. Open it as a storage does, which makes its first table.',
    )
  const header = readDatabaseHeader(first)
  const encoding = header.textEncoding === undefined ? 'none' : ENCODINGS[header.textEncoding]
  return [
    `page size ${header.pageBytes}`,
    `reserved bytes ${header.reservedBytes}`,
    `encoding ${encoding}`,
    `file format ${header.writeVersion}/${header.readVersion}`,
    `schema format ${header.schemaFormat}`,
  ].join(', ')
}

/** Why a file with fingerprint `theirs` cannot take pages of one with `own`. */
export function refusalOf(own: string, theirs: string): string | undefined {
  if (own === theirs) return undefined
  const other = new Map(theirs.split(', ').map(property))
  const differences = own
    .split(', ')
    .map(property)
    .filter(([name, value]) => other.get(name) !== value)
  const found = differences.map(
    ([name, value]) => `${name} ${value} here and ${other.get(name) ?? 'unknown'} there`,
  )
  const what = found.length > 0 ? found.join(', ') : `"${own}" here and "${theirs}" there`
  return (
    `pages of this database do not fit into the peer's: ${what}. The wal format copies pages of the file as they are, and ` +
    `needs files of one page size, encoding and file format: that is its price. Give the peer an empty directory and the ` +
    `same settings, or use the row format`
  )
}

function property(text: string): readonly [name: string, value: string] {
  const at = text.lastIndexOf(' ')
  return [text.slice(0, at), text.slice(at + 1)]
}
