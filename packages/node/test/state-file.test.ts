import { isUnderstudyError, type Files } from '@understudy/contracts'
import { SeededRandom, SimulatedDisk } from '@understudy/testkit'
import { expect, test } from 'vitest'
import { readNodeState, removeNodeState, writeNodeState, type NodeState } from '../src/state-file.ts'

const OLD: NodeState = { cluster: '00c0ffee00c0ffee', node: 'a', generation: 1, led: true }
const NEW: NodeState = { cluster: '00c0ffee00c0ffee', node: 'a', generation: 2, led: false }
const PATH = '/data/node.state'

function diskWith(state: NodeState | undefined, seed: string = 'state'): SimulatedDisk {
  const disk = new SimulatedDisk({ random: new SeededRandom(seed), directories: 'durable' })
  disk.makeDirectory('/data')
  if (state !== undefined) writeNodeState(disk, '/data', state)
  return disk
}

function contents(disk: SimulatedDisk): string {
  const bytes = new Uint8Array(disk.size(PATH))
  const handle = disk.open(PATH)
  handle.read(bytes, 0)
  handle.close()
  return Buffer.from(bytes).toString()
}

function put(disk: SimulatedDisk, text: string): void {
  const handle = disk.open(PATH, { create: true, write: true })
  handle.truncate(0)
  handle.write([Buffer.from(text)], 0)
  handle.close()
}

function codeOf(run: () => unknown): string | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    if (!isUnderstudyError(error)) throw error
    return error.code
  }
}

test('a state is read back as it was written, from bytes that never change', () => {
  const disk = diskWith(OLD)
  expect(readNodeState(disk, '/data')).toEqual(OLD)
  expect(contents(disk)).toBe(
    'understudy-node 1 ce7bbf20\n{"cluster":"00c0ffee00c0ffee","node":"a","generation":1,"led":true}\n',
  )
  expect(readNodeState(diskWith(undefined), '/data')).toBeUndefined()
})

test('every flipped bit is noticed', () => {
  const size = diskWith(OLD).size(PATH)
  for (let offset = 0; offset < size; offset++) {
    for (let bit = 0; bit < 8; bit++) {
      const disk = diskWith(OLD)
      disk.flipBit(PATH, { offset, bit })
      expect(['STATE_CORRUPT', 'FORMAT_VERSION'], `byte ${offset} bit ${bit}`).toContain(
        codeOf(() => readNodeState(disk, '/data')),
      )
    }
  }
})

test('every missing end is noticed', () => {
  const disk = diskWith(OLD)
  const whole = contents(disk)
  for (let length = 0; length < whole.length; length++) {
    put(disk, whole.slice(0, length))
    expect(
      codeOf(() => readNodeState(disk, '/data')),
      `${length} bytes`,
    ).toBe('STATE_CORRUPT')
  }
})

test('a file of a newer version is not read, and the message says so', () => {
  const disk = diskWith(OLD)
  put(disk, contents(disk).replace('understudy-node 1', 'understudy-node 2'))
  expect(() => readNodeState(disk, '/data')).toThrow(/format version 2/)
  expect(codeOf(() => readNodeState(disk, '/data'))).toBe('FORMAT_VERSION')
})

test('data without a state is damage, not a leftover: a wrong guess would wipe a leader', () => {
  const disk = diskWith(OLD)
  disk.makeDirectory('/data/generation-1')
  removeNodeState(disk, '/data')
  expect(codeOf(() => readNodeState(disk, '/data'))).toBe('STATE_CORRUPT')
})

/** The files with the `n`-th change failing, and every one after it: the process is dead. */
function stoppingAt(files: Files, changes: { left: number }): Files {
  const change = <R>(run: () => R): R => {
    if (changes.left-- <= 0) throw new Error('dead')
    return run()
  }
  return {
    ...bound(files),
    open: (path, options) => {
      const handle = change(() => files.open(path, options))
      return {
        path: handle.path,
        size: () => handle.size(),
        read: (target, offset) => handle.read(target, offset),
        write: (parts, offset) => change(() => handle.write(parts, offset)),
        truncate: (size) => change(() => handle.truncate(size)),
        dataSyncNow: () => change(() => handle.dataSyncNow()),
        dataSync: () => change(() => handle.dataSync()),
        close: () => handle.close(),
      }
    },
    rename: (from, to) => change(() => files.rename(from, to)),
    syncDirectory: (path) => change(() => files.syncDirectory(path)),
  }
}

function bound(files: Files): Files {
  return {
    open: (path, options) => files.open(path, options),
    exists: (path) => files.exists(path),
    size: (path) => files.size(path),
    makeDirectory: (path) => files.makeDirectory(path),
    list: (path) => files.list(path),
    rename: (from, to) => files.rename(from, to),
    remove: (path) => files.remove(path),
    syncDirectory: (path) => files.syncDirectory(path),
  }
}

test('a power loss at any change leaves the old state or the new one, and the new one once it returned', () => {
  let changes = 0
  for (let isOver = false; !isOver; changes++) {
    for (let seed = 0; seed < 20; seed++) {
      const disk = diskWith(OLD, `state ${changes} ${seed}`)
      try {
        writeNodeState(stoppingAt(disk, { left: changes }), '/data', NEW)
        isOver = true
      } catch (error) {
        expect(error).toMatchObject({ message: 'dead' })
      }
      disk.crash()
      const found = readNodeState(disk, '/data')
      if (isOver) expect(found).toEqual(NEW)
      else expect([OLD, NEW]).toContainEqual(found)
    }
  }
  // Open, truncate, write, sync, rename, sync of the directory.
  expect(changes).toBe(7)
})
