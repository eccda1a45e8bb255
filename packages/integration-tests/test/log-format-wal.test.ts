/** The WAL format on the real storage: every feature of SQLite, and files that end equal byte for byte. */
import { walFormat } from '@understudy/format-wal'
import { openStorage } from '@understudy/sqlite'
import { logFormatSuite } from '@understudy/testkit/suites/log-format'

for (const pageBytes of [4096, 65_536]) {
  logFormatSuite({
    name: `wal, pages of ${pageBytes}`,
    format: walFormat(),
    openStorage: (path, setup) =>
      openStorage({ path, pageBytes, readers: 1, ...(setup !== undefined && { setup }) }),
  })
}
