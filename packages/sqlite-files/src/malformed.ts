/** The one error of this package. */
import { UnderstudyError } from '@understudy/contracts'

/** `FILE_MALFORMED` with where and why; nothing was changed, since nothing here writes. */
export function malformed(
  file: 'database' | 'WAL' | 'wal-index',
  offset: number,
  why: string,
): UnderstudyError {
  return new UnderstudyError(
    'FILE_MALFORMED',
    `These bytes are no valid SQLite ${file} file: at offset ${offset}, ${why}. Nothing was changed. ` +
      `Check that the right file was given, whole; if it was, restore it from a copy or from another node.`,
    { file, offset },
  )
}
