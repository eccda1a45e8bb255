import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { processClock } from '@understudy/coordination'
import { sqliteCoordinator } from '@understudy/coordinator-sqlite'
import { coordinatorSuite } from '@understudy/testkit/suites/coordinator'

coordinatorSuite({
  name: 'sqliteCoordinator',
  async create() {
    const folder = mkdtempSync(join(tmpdir(), 'coordinator-'))
    const path = join(folder, 'coordinator.db')
    const clock = processClock()
    return {
      clock,
      open: () => sqliteCoordinator({ path, clock }),
      dispose: async () => rmSync(folder, { recursive: true }),
    }
  },
})
