/** The statement format on the real storage, with unsafe statements refused and with their groups logged as rows. */
import { rowFormat } from '@understudy/format-row'
import { statementFormat } from '@understudy/format-statement'
import { openStorage } from '@understudy/sqlite'
import { logFormatSuite } from '@understudy/testkit/suites/log-format'

logFormatSuite({
  name: 'statement, unsafe: refuse',
  format: statementFormat({ functions: ['double'] }),
  openStorage: (path, setup) => openStorage({ path, readers: 1, setup }),
  supports: {
    hiddenRowids: false,
    namedRowids: false,
    undeclaredFunctions: false,
    unorderedEffects: false,
    drawnIds: false,
  },
})

// What rows demand of tables holds for every table: any group may become rows.
logFormatSuite({
  name: 'statement, unsafe: row',
  format: statementFormat({ unsafe: 'row', row: rowFormat(), functions: ['double'] }),
  others: [rowFormat()],
  openStorage: (path, setup) => openStorage({ path, readers: 1, setup }),
  supports: { keylessTables: false, nullKeys: false, hiddenRowids: false },
})
