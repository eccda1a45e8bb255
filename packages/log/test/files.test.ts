import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { UnderstudyError } from '@understudy/contracts'
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

test('files and directories are for their user alone; what is there keeps its mode', () => {
  using dir = scratch()
  const files = nodeFiles()
  const modeOf = (name: string): number => fs.statSync(path.join(dir.path, name)).mode & 0o777
  const before = process.umask(0)
  try {
    files.makeDirectory(path.join(dir.path, 'a', 'b'))
    files.open(path.join(dir.path, 'made'), { create: true, write: true }).close()
    files.open(path.join(dir.path, 'exclusive'), { exclusive: true, write: true }).close()
    fs.mkdirSync(path.join(dir.path, 'wide'), { mode: 0o755 })
    fs.writeFileSync(path.join(dir.path, 'shared'), '', { mode: 0o644 })
    files.makeDirectory(path.join(dir.path, 'wide'))
    files.open(path.join(dir.path, 'shared'), { create: true, write: true }).close()
  } finally {
    process.umask(before)
  }
  expect(['a', 'a/b', 'made', 'exclusive', 'wide', 'shared'].map(modeOf)).toEqual([
    0o700, 0o700, 0o600, 0o600, 0o755, 0o644,
  ])
})

test.each([{}, { write: true }, { create: true, write: true }, { exclusive: true, write: true }])(
  'a symbolic link is not followed, whatever it points to: %o',
  (options) => {
    using dir = scratch()
    const files = nodeFiles()
    fs.writeFileSync(path.join(dir.path, 'target'), 'secret')
    for (const [name, target] of [
      ['link', 'target'],
      ['dangling', 'nowhere'],
    ] as const) {
      fs.symlinkSync(path.join(dir.path, target), path.join(dir.path, name))
      const error = errorOf(() => files.open(path.join(dir.path, name), options)) as UnderstudyError
      expect(['ELOOP', 'EEXIST']).toContain(error.details['systemCode'])
    }
    expect(fs.existsSync(path.join(dir.path, 'nowhere'))).toBe(false)
    expect(fs.readFileSync(path.join(dir.path, 'target'), 'utf8')).toBe('secret')
  },
)

test('exclusive creation refuses what is there', () => {
  using dir = scratch()
  fs.writeFileSync(path.join(dir.path, 'a'), '')
  const error = errorOf(() => nodeFiles().open(path.join(dir.path, 'a'), { exclusive: true, write: true }))
  expect(error).toMatchObject({ code: 'STORAGE_FAILED', details: { systemCode: 'EEXIST' } })
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
