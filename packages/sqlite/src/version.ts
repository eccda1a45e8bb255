/**
 * Which SQLite may carry a replica.
 *
 * Versions from 3.7.0 to 3.51.2 can lose committed pages when a checkpoint races a restart of the write-ahead log
 * (https://sqlite.org/wal.html#walresetbug). The fix is in 3.51.3, and was carried back to 3.44.6 and 3.50.7.
 */
import { UnderstudyError } from '@understudy/contracts'

/** Throws `UNSUPPORTED_RUNTIME` unless `version` (such as `3.53.4`, of `process.versions.sqlite`) has the fix. */
export function checkSqliteVersion(version: string | undefined): void {
  const match = /^(\d+)\.(\d+)\.(\d+)/.exec(version ?? '')
  const [major, minor, patch] = [Number(match?.[1]), Number(match?.[2]), Number(match?.[3])]
  const good =
    match !== null &&
    (major > 3 ||
      (major === 3 &&
        (minor > 51 ||
          (minor === 51 && patch >= 3) ||
          (minor === 50 && patch >= 7) ||
          (minor === 44 && patch >= 6))))
  if (good) return
  throw new UnderstudyError(
    'UNSUPPORTED_RUNTIME',
    `This Node.js carries SQLite ${version ?? 'of no known version'}, which can corrupt a database in WAL mode while ` +
      `a checkpoint runs. No file was opened. Use Node.js 24.15.0 or later (SQLite 3.51.3 or later).`,
    { sqliteVersion: version },
  )
}
