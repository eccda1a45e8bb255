/** The steps of the store in a file, by the suite of stores. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { processClock } from '@understudy/coordination'
import { coordinatorStoreSuite } from '@understudy/testkit/suites/coordinator-store'
import { onTestFinished } from 'vitest'
import { CoordinatorFile } from '../src/database.ts'
import { thisMachine } from '../src/machine.ts'
import { SqliteStore } from '../src/store.ts'

coordinatorStoreSuite({
  name: 'a SQLite file',
  create() {
    const folder = mkdtempSync(join(tmpdir(), 'store-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const machine = thisMachine()
    const file = new CoordinatorFile(join(folder, 'coordinator.db'), machine)
    const recipe = { module: '', factory: '', options: undefined }
    return new SqliteStore({ file, machine, clock: processClock(), pollMs: 20, recipe })
  },
})
