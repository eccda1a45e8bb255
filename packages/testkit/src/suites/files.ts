/**
 * What every `Files` must do. Call `filesSuite` from a test file; see `FilesUnderTest` for what it needs.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { isUnderstudyError, type FileHandle, type Files } from '@understudy/contracts'
import { SeededRandom } from '../random.ts'

export interface FilesSuiteOptions {
  readonly name: string
  create(): Promise<FilesUnderTest>
}

export interface FilesUnderTest {
  readonly files: Files
  /** An empty directory that exists and is durable, without a slash at the end. */
  readonly directory: string
  /** Power loss; returns the files of the next life. Without it the tests of crashes are left out. */
  crash?(): Promise<Files>
  dispose?(): Promise<void>
}

export function filesSuite(options: FilesSuiteOptions): void {
  describe(`files suite: ${options.name}`, () => {
    let under: FilesUnderTest
    let files: Files
    const at = (name: string): string => `${under.directory}/${name}`
    const create = (name: string): FileHandle => files.open(at(name), { create: true, write: true })

    beforeEach(async () => {
      under = await options.create()
      files = under.files
    })
    afterEach(async () => under.dispose?.())

    describe('contents', () => {
      test('reads what was written, from any offset, and fewer bytes only at the end', () => {
        const file = create('a')
        file.write([bytes('hello '), bytes('world')], 0)
        expect(file.size()).toBe(11)
        expect(readText(file, 0, 11)).toBe('hello world')
        expect(readText(file, 6, 3)).toBe('wor')
        expect(readText(file, 6, 100)).toBe('world')
        expect(readText(file, 11, 5)).toBe('')
        expect(readText(file, 5000, 5)).toBe('')
        file.close()
      })

      test('overwrites in the middle without changing the rest or the size', () => {
        const file = create('a')
        file.write([bytes('0123456789')], 0)
        file.write([bytes('ab'), new Uint8Array(0), bytes('c')], 4)
        expect(readText(file, 0, 20)).toBe('0123abc789')
        file.close()
      })

      test('appends, and fills a gap with zeros', () => {
        const file = create('a')
        file.write([bytes('x')], 0)
        file.write([bytes('y')], 1)
        file.write([bytes('z')], 10)
        expect(file.size()).toBe(11)
        expect(readText(file, 0, 11)).toBe(`xy${'\0'.repeat(8)}z`)
        file.close()
      })

      test('truncates, and extends with zeros, never with what stood there', () => {
        const file = create('a')
        file.write([bytes('0123456789')], 0)
        file.truncate(4)
        expect(file.size()).toBe(4)
        expect(readText(file, 0, 20)).toBe('0123')
        file.truncate(8)
        expect(readText(file, 0, 20)).toBe('0123\0\0\0\0')
        file.truncate(0)
        expect(file.size()).toBe(0)
        file.close()
      })

      test('writes views into larger buffers, and leaves the parts to their owner afterwards', () => {
        const file = create('a')
        const buffer = bytes('__part__')
        file.write([buffer.subarray(2, 6), buffer.subarray(2, 3)], 0)
        buffer.fill(0x21)
        expect(readText(file, 0, 20)).toBe('partp')
        const target = new Uint8Array(9)
        expect(file.read(target.subarray(3, 6), 1)).toBe(3)
        expect(text(target)).toBe('\0\0\0art\0\0\0')
        file.close()
      })

      test('writes more parts in one call than an operating system takes at once', () => {
        const file = create('a')
        const parts = Array.from({ length: 5000 }, (_, index) => bytes(`${index % 10}`))
        file.write(parts, 3)
        expect(file.size()).toBe(5003)
        expect(readText(file, 3, 5000)).toBe('0123456789'.repeat(500))
        file.close()
      })

      test('writes and reads several MiB whole', () => {
        const file = create('a')
        const content = new SeededRandom(1).bytes(3 * 1024 * 1024 + 7)
        file.write([content.subarray(0, 1_000_000), content.subarray(1_000_000)], 0)
        const back = new Uint8Array(content.byteLength)
        expect(file.read(back, 0)).toBe(content.byteLength)
        expect(Buffer.compare(back, content)).toBe(0)
        file.close()
      })

      test('two handles of one file see each other', () => {
        const writer = create('a')
        const reader = files.open(at('a'))
        writer.write([bytes('seen')], 0)
        expect(readText(reader, 0, 10)).toBe('seen')
        expect(reader.size()).toBe(4)
        writer.close()
        reader.close()
      })
    })

    describe('opening', () => {
      test('a missing file is ENOENT, unless create is given', () => {
        expectSystemError(() => files.open(at('missing')), 'ENOENT')
        expectSystemError(() => files.open(at('missing'), { write: true }), 'ENOENT')
        create('missing').close()
        expect(files.exists(at('missing'))).toBe(true)
        expect(files.size(at('missing'))).toBe(0)
      })

      test('create keeps what a file holds, exclusive refuses it', () => {
        const file = create('a')
        file.write([bytes('kept')], 0)
        file.close()
        const again = create('a')
        expect(readText(again, 0, 10)).toBe('kept')
        again.close()
        expectSystemError(() => files.open(at('a'), { create: true, exclusive: true, write: true }), 'EEXIST')
        files.open(at('b'), { create: true, exclusive: true, write: true }).close()
      })

      test('a file in a missing directory is ENOENT', () => {
        expectSystemError(() => files.open(at('no/such'), { create: true, write: true }), 'ENOENT')
      })

      test('a handle opened for reading cannot write', () => {
        create('a').close()
        const file = files.open(at('a'))
        expect(codeOf(() => file.write([bytes('x')], 0))).toBe('STORAGE_FAILED')
        expect(codeOf(() => file.truncate(9))).toBe('STORAGE_FAILED')
        expect(file.size()).toBe(0)
        file.close()
      })

      test('a closed handle takes no calls; closing twice has no effect', async () => {
        const file = create('a')
        file.close()
        file.close()
        expect(codeOf(() => file.write([bytes('x')], 0))).toMatch(/^(CLOSED|STORAGE_FAILED)$/)
        expect(codeOf(() => file.read(new Uint8Array(1), 0))).toMatch(/^(CLOSED|STORAGE_FAILED)$/)
        expect(codeOf(() => file.dataSyncNow())).toMatch(/^(CLOSED|STORAGE_FAILED)$/)
        await expect(file.dataSync()).rejects.toSatisfy(isUnderstudyError)
        expect(files.size(at('a'))).toBe(0)
      })

      test('the path of a handle is the one it was opened with', () => {
        const file = create('a')
        expect(file.path).toBe(at('a'))
        file.close()
      })
    })

    describe('names', () => {
      test('lists names, sorted, of this directory alone', () => {
        for (const name of ['b', 'a10', 'a9', 'C', 'ä']) create(name).close()
        files.makeDirectory(at('directory/inner'))
        create('directory/inside').close()
        expect(files.list(under.directory)).toEqual(['C', 'a10', 'a9', 'b', 'directory', 'ä'])
        expect(files.list(at('directory'))).toEqual(['inner', 'inside'])
        expectSystemError(() => files.list(at('missing')), 'ENOENT')
      })

      test('makes a directory with its parents, and again without effect', () => {
        files.makeDirectory(at('x/y/z'))
        files.makeDirectory(at('x/y/z'))
        expect(files.exists(at('x/y/z'))).toBe(true)
        create('x/y/z/file').close()
        files.makeDirectory(at('x/y'))
        expect(files.list(at('x/y/z'))).toEqual(['file'])
        create('plain').close()
        expect(codeOf(() => files.makeDirectory(at('plain')))).toBe('STORAGE_FAILED')
      })

      test('rename replaces what the new name stood for, and the old name is gone', () => {
        writeWhole(files, at('old'), 'new content')
        writeWhole(files, at('target'), 'old content')
        files.rename(at('old'), at('target'))
        expect(files.exists(at('old'))).toBe(false)
        expect(readWhole(files, at('target'))).toBe('new content')
        expectSystemError(() => files.rename(at('old'), at('target')), 'ENOENT')
        expect(readWhole(files, at('target'))).toBe('new content')
      })

      test('a handle follows its file through rename and removal', () => {
        const file = create('a')
        files.rename(at('a'), at('b'))
        file.write([bytes('through')], 0)
        expect(readWhole(files, at('b'))).toBe('through')
        files.remove(at('b'))
        expect(readText(file, 0, 10)).toBe('through')
        file.close()
        expect(files.exists(at('b'))).toBe(false)
      })

      test('remove takes the name away, and a new file of that name is empty', () => {
        writeWhole(files, at('a'), 'gone')
        files.remove(at('a'))
        expect(files.exists(at('a'))).toBe(false)
        expectSystemError(() => files.size(at('a')), 'ENOENT')
        expectSystemError(() => files.remove(at('a')), 'ENOENT')
        create('a').close()
        expect(files.size(at('a'))).toBe(0)
      })
    })

    describe('syncs', () => {
      test('each way to sync succeeds and changes nothing that reads see', async () => {
        const file = create('a')
        file.dataSyncNow()
        file.write([bytes('one')], 0)
        file.dataSyncNow()
        file.write([bytes('two')], 3)
        await file.dataSync()
        await Promise.all([file.dataSync(), file.dataSync()])
        files.syncDirectory(under.directory)
        expect(readText(file, 0, 10)).toBe('onetwo')
        file.close()
        expectSystemError(() => files.syncDirectory(at('missing')), 'ENOENT')
      })

      test('dataSync settles later, and writes go on meanwhile', async () => {
        const file = create('a')
        file.write([bytes('one')], 0)
        let settled = false
        const synced = file.dataSync().then(() => {
          settled = true
          return undefined
        })
        file.write([bytes('two')], 3)
        expect(settled).toBe(false)
        expect(readText(file, 0, 10)).toBe('onetwo')
        await synced
        file.close()
      })
    })

    describe('crashes', () => {
      test('what was synced, with its names, survives whole', async (context) => {
        if (under.crash === undefined) {
          context.skip()
          return
        }
        const random = new SeededRandom(2)
        const file = create('data')
        files.syncDirectory(under.directory)
        file.write([random.bytes(10_000)], 0)
        await file.dataSync()
        const synced = new Uint8Array(10_000)
        file.read(synced, 0)
        file.write([random.bytes(5000)], 10_000)
        files = await under.crash()
        const back = new Uint8Array(10_000)
        const survivor = files.open(at('data'))
        expect(survivor.read(back, 0)).toBe(10_000)
        expect(Buffer.compare(back, synced)).toBe(0)
        survivor.close()
      })

      test('handles from before the crash are dead', async (context) => {
        if (under.crash === undefined) {
          context.skip()
          return
        }
        const file = create('data')
        await under.crash()
        expect(codeOf(() => file.write([bytes('zombie')], 0))).toBe('STORAGE_FAILED')
      })

      test('a rename is there or not, never half', async (context) => {
        if (under.crash === undefined) {
          context.skip()
          return
        }
        for (let round = 0; round < 10; round++) {
          writeWhole(files, at('current'), 'old')
          writeWhole(files, at('next'), 'new')
          files.syncDirectory(under.directory)
          files.rename(at('next'), at('current'))
          files = await under.crash()
          const renamed = !files.exists(at('next'))
          expect(readWhole(files, at('current'))).toBe(renamed ? 'new' : 'old')
        }
      })
    })
  })
}

function bytes(content: string): Uint8Array {
  return Buffer.from(content)
}

function text(content: Uint8Array): string {
  return Buffer.from(content).toString()
}

function readText(file: FileHandle, offset: number, length: number): string {
  const target = new Uint8Array(length)
  return text(target.subarray(0, file.read(target, offset)))
}

function readWhole(files: Files, path: string): string {
  const file = files.open(path)
  const content = readText(file, 0, file.size())
  file.close()
  return content
}

function writeWhole(files: Files, path: string, content: string): void {
  const file = files.open(path, { create: true, write: true })
  file.truncate(0)
  file.write([bytes(content)], 0)
  file.dataSyncNow()
  file.close()
}

function codeOf(run: () => unknown): string | undefined {
  try {
    run()
  } catch (error) {
    return isUnderstudyError(error) ? error.code : `not an UnderstudyError: ${String(error)}`
  }
  return undefined
}

function expectSystemError(run: () => unknown, systemCode: string): void {
  let caught: unknown
  try {
    run()
  } catch (error) {
    caught = error
  }
  expect(caught).toMatchObject({ code: 'STORAGE_FAILED', details: { systemCode } })
}
