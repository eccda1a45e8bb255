/**
 * The 100-byte header of a SQLite database file.
 *
 * Decides: whether bytes begin a database, and what the fields say. Leaves to others: everything after byte 99.
 *
 * Valid when 1. the magic is right, 2. the page size is a power of two from 512 to 65536, 3. the payload fractions are
 * 64, 32 and 32, which the format fixes. Source: https://sqlite.org/fileformat2.html#the_database_header
 */
import { malformed } from './malformed.ts'

/** Bytes of the header. */
export const DATABASE_HEADER_BYTES = 100

const MAGIC = Uint8Array.from('SQLite format 3\0', (character) => character.charCodeAt(0))

/** What the header says. */
export interface DatabaseHeader {
  /** 512 to 65536, a power of two. */
  readonly pageBytes: number
  /** Bytes at the end of each page that SQLite leaves alone. */
  readonly reservedBytes: number
  /** Both versions are 2: the file is opened in WAL mode. */
  readonly wal: boolean
  readonly writeVersion: number
  readonly readVersion: number
  /** Not incremented by every transaction in WAL mode. */
  readonly changeCounter: number
  /**
   * Pages in the file by the header; meaningful only when `sizeValid`, else the file's length counts.
   */
  readonly pageCount: number
  readonly sizeValid: boolean
  readonly freelistPages: number
  readonly schemaCookie: number
  readonly schemaFormat: number
  readonly autoVacuum: boolean
  readonly textEncoding: 'utf8' | 'utf16le' | 'utf16be' | undefined
  readonly userVersion: number
  readonly applicationId: number
  /** `SQLITE_VERSION_NUMBER` of the library that wrote last, such as 3053004. */
  readonly sqliteVersion: number
}

/** The page that holds the locking bytes at 1 GiB: never in use, in no file that a copy should rely on. */
export function lockPage(pageBytes: number): number {
  return 0x4000_0000 / pageBytes + 1
}

/** Whether `pageBytes` is a page size that SQLite has. */
export function isPageSize(pageBytes: number): boolean {
  return pageBytes >= 512 && pageBytes <= 65_536 && (pageBytes & (pageBytes - 1)) === 0
}

/** Reads the header from the first 100 bytes. Throws `FILE_MALFORMED`. */
export function readDatabaseHeader(bytes: Uint8Array): DatabaseHeader {
  if (bytes.length < DATABASE_HEADER_BYTES)
    throw malformed('database', 0, `it has ${bytes.length} bytes, a header has ${DATABASE_HEADER_BYTES}`)
  if (!MAGIC.every((byte, index) => bytes[index] === byte))
    throw malformed('database', 0, 'the magic is missing')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const stored = view.getUint16(16)
  const pageBytes = stored === 1 ? 65_536 : stored
  if (!isPageSize(pageBytes)) throw malformed('database', 16, `${stored} is no page size`)
  if (view.getUint8(21) !== 64 || view.getUint8(22) !== 32 || view.getUint8(23) !== 32)
    throw malformed('database', 21, 'the payload fractions are not 64, 32, 32')
  const writeVersion = view.getUint8(18)
  const readVersion = view.getUint8(19)
  const changeCounter = view.getUint32(24)
  const encodings = [undefined, 'utf8', 'utf16le', 'utf16be'] as const
  return {
    pageBytes,
    reservedBytes: view.getUint8(20),
    wal: writeVersion === 2 && readVersion === 2,
    writeVersion,
    readVersion,
    changeCounter,
    pageCount: view.getUint32(28),
    sizeValid: view.getUint32(28) !== 0 && view.getUint32(92) === changeCounter,
    freelistPages: view.getUint32(36),
    schemaCookie: view.getUint32(40),
    schemaFormat: view.getUint32(44),
    autoVacuum: view.getUint32(52) !== 0,
    textEncoding: encodings[view.getUint32(56)],
    userVersion: view.getInt32(60),
    applicationId: view.getInt32(68),
    sqliteVersion: view.getUint32(96),
  }
}
