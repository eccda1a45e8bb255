/** The row format on the real storage: every feature of SQLite that the format claims to carry. */
import { rowFormat } from '@understudy/format-row'
import { openStorage } from '@understudy/sqlite'
import { logFormatSuite } from '@understudy/testkit/suites/log-format'

for (const boundaries of ['group', 'write'] as const) {
  logFormatSuite({
    name: `row, boundaries: ${boundaries}`,
    format: rowFormat({ boundaries }),
    openStorage: (path, setup) => openStorage({ path, readers: 1, ...(setup !== undefined && { setup }) }),
    supports: { keylessTables: false, nullKeys: false, hiddenRowids: false },
  })
}
