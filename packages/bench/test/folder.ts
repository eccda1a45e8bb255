/** A folder for each test of a file, removed with it. */
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach } from 'vitest'

/** Called at the top of a file; `path` is that of the test that runs. */
export function testFolder(): { readonly path: string } {
  const folder = { path: '' }
  beforeEach(async () => {
    folder.path = await mkdtemp(path.join(os.tmpdir(), 'understudy-bench-test-'))
  })
  afterEach(async () => {
    await rm(folder.path, { recursive: true, force: true })
  })
  return folder
}
