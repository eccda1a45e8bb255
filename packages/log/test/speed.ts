/**
 * Speed of the log beside bare file calls on the same disk: `node --conditions=@understudy/source test/speed.ts`.
 * Prints one line per measure. Rounds alternate between the two sides, the median counts.
 */
import fs from 'node:fs'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import { openLog } from '../src/index.ts'
import { begin, draft, scratch } from './helpers.ts'

const COMMITS = 2000
const PAYLOAD = new Uint8Array(180).fill(65)

function seconds(run: () => void): number {
  const start = performance.now()
  run()
  return (performance.now() - start) / 1000
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** One record of 180 bytes and a sync, against the same bytes written into a preallocated file. */
async function lone(): Promise<void> {
  using dir = scratch()
  const file = fs.openSync(path.join(dir.path, 'bare'), 'w+')
  const zeros = new Uint8Array(1024 * 1024)
  for (let i = 0; i < 16; i++) fs.writeSync(file, zeros, 0, zeros.length, i * zeros.length)
  fs.fsyncSync(file)
  await using log = openLog({ directory: path.join(dir.path, 'log') })
  begin(log)
  log.syncNow()
  const bytes = new Uint8Array(PAYLOAD.length + 72)
  let offset = 0
  const bare: number[] = []
  const ours: number[] = []
  for (let round = 0; round < 7; round++) {
    bare.push(
      seconds(() => {
        for (let i = 0; i < COMMITS; i++) {
          fs.writeSync(file, bytes, 0, bytes.length, offset)
          fs.fdatasyncSync(file)
          offset += bytes.length
        }
      }),
    )
    ours.push(
      seconds(() => {
        for (let i = 0; i < COMMITS; i++) {
          log.append([draft(PAYLOAD)])
          log.syncNow()
        }
      }),
    )
  }
  fs.closeSync(file)
  const [a, b] = [COMMITS / median(bare), COMMITS / median(ours)]
  print(`lone append+sync: bare ${a.toFixed(0)}/s, log ${b.toFixed(0)}/s, ratio ${(b / a).toFixed(3)}`)
}

function appendSpeed(payload: Uint8Array, perUnit: number, total: number, label: string): void {
  using dir = scratch()
  const log = openLog({ directory: dir.path })
  begin(log)
  const drafts = Array.from({ length: perUnit }, () => draft(payload))
  const units = Math.ceil(total / (perUnit * payload.length))
  const spent = seconds(() => {
    for (let i = 0; i < units; i++) log.append(drafts)
    log.syncNow()
  })
  const bytes = units * perUnit * payload.length
  print(
    `append ${label}: ${(bytes / 1e6 / spent).toFixed(0)} MB/s, ${((units * perUnit) / spent).toFixed(0)} records/s`,
  )
}

async function readSpeed(payload: Uint8Array, total: number, label: string): Promise<void> {
  using dir = scratch()
  using other = scratch()
  const log = openLog({ directory: dir.path })
  begin(log)
  const units = Math.ceil(total / payload.length)
  for (let i = 0; i < units; i++) log.append([draft(payload)])
  await log.close()
  await using again = openLog({ directory: dir.path, tailCacheBytes: 0 })
  const follower = openLog({ directory: other.path, tailCacheBytes: 0 })
  for (const pass of ['first', 'second']) {
    let bytes = 0
    const spent = seconds(() => {
      for (let next = 1; ;) {
        const chunk = again.read(next)
        if (chunk === undefined) break
        bytes += chunk.bytes.length
        next = chunk.last + 1
      }
    })
    print(
      `read ${label}, ${pass} pass: ${(bytes / 1e6 / spent).toFixed(0)} MB/s, ${(units / spent).toFixed(0)} records/s`,
    )
  }
  let spentAppending = 0
  let bytes = 0
  for (let next = 1; ;) {
    const chunk = again.read(next)
    if (chunk === undefined) break
    spentAppending += seconds(() => void follower.appendEncoded(chunk.bytes))
    bytes += chunk.bytes.length
    next = chunk.last + 1
  }
  await follower.close()
  print(
    `appendEncoded ${label}: ${(bytes / 1e6 / spentAppending).toFixed(0)} MB/s, ${(units / spentAppending).toFixed(0)} records/s`,
  )
}

function references(): void {
  using dir = scratch()
  const chunk = new Uint8Array(256 * 1024).fill(1)
  const file = fs.openSync(path.join(dir.path, 'a'), 'w+')
  const writing = seconds(() => {
    for (let i = 0; i < 1000; i++) fs.writeSync(file, chunk, 0, chunk.length, i * chunk.length)
    fs.fdatasyncSync(file)
  })
  const reading = seconds(() => {
    for (let i = 0; i < 1000; i++) {
      fs.readSync(file, chunk, 0, chunk.length, i * chunk.length)
      crc32(chunk)
    }
  })
  fs.closeSync(file)
  const mb = (1000 * chunk.length) / 1e6
  print(
    `bare write+sync ${(mb / writing).toFixed(0)} MB/s, bare read+crc32 ${(mb / reading).toFixed(0)} MB/s`,
  )
}

references()
await lone()
appendSpeed(new Uint8Array(64 * 1024).fill(3), 1, 400e6, '64 KiB payloads')
appendSpeed(new Uint8Array(180).fill(3), 64, 100e6, '180 bytes, 64 in a unit')
appendSpeed(new Uint8Array(180).fill(3), 1, 30e6, '180 bytes, 1 in a unit')
await readSpeed(new Uint8Array(5000).fill(3), 200e6, '5,000 bytes')
await readSpeed(new Uint8Array(180).fill(3), 40e6, '180 bytes')
