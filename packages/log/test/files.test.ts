import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { filesSuite } from '@understudy/testkit/suites/files'
import { expect, test } from 'vitest'
import { nodeFiles } from '../src/index.ts'
import { errorOf, scratch } from './helpers.ts'

filesSuite({
  name: 'nodeFiles',
  create: async () => {
    const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'understudy-files-'))
    return {
      files: nodeFiles(),
      directory,
      dispose: async () => fs.rmSync(directory, { recursive: true, force: true }),
    }
  },
})

test('system errors become codes, with the system code in the details', () => {
  using dir = scratch()
  const files = nodeFiles()
  const missing = path.join(dir.path, 'missing')
  expect(errorOf(() => files.open(missing))).toMatchObject({
    code: 'STORAGE_FAILED',
    details: { systemCode: 'ENOENT' },
  })
  expect(errorOf(() => files.size(missing))).toMatchObject({ code: 'STORAGE_FAILED' })
  fs.symlinkSync('/dev/null', path.join(dir.path, 'link'))
  expect(errorOf(() => files.open(path.join(dir.path, 'link')))).toMatchObject({
    details: { systemCode: 'ELOOP' },
  })
})

test.skipIf(!fs.existsSync('/dev/full'))('a full device is DISK_FULL', () => {
  const full = nodeFiles().open('/dev/full', { write: true })
  expect(errorOf(() => full.write([new Uint8Array(10), new Uint8Array(10)], 0))).toMatchObject({
    code: 'DISK_FULL',
    details: { systemCode: 'ENOSPC' },
  })
  full.close()
})

test('a descriptor stays open until its pending sync returned', async () => {
  using dir = scratch()
  const handle = nodeFiles().open(path.join(dir.path, 'a'), { create: true, write: true })
  handle.write([new Uint8Array(1000)], 0)
  const synced = handle.dataSync()
  handle.close()
  handle.close()
  await synced
  expect(errorOf(() => handle.size())).toMatchObject({ code: 'CLOSED' })
})
