/** What a run was measured on, so that its figures can be compared with others. */
import { closeSync, fdatasyncSync, openSync, statfsSync, writeSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { performance } from 'node:perf_hooks'
import { median } from './statistics.ts'

export interface Machine {
  readonly processor: string
  readonly processors: number
  readonly memoryMiB: number
  readonly system: string
  readonly node: string
  readonly sqlite: string
  /** The file system's magic number, hexadecimal: `ef53` is ext4. */
  readonly fileSystem: string
  /** Synchronous writes of 4 KiB with fdatasync, per second: behind the end of a file, and over its own bytes. */
  readonly appendSyncsPerSecond: number
  readonly overwriteSyncsPerSecond: number
  /** Processes that wanted to run when the benchmark began, by the system's one-minute average. */
  readonly loadAverage: number
}

const SYNCS = 300

export async function describeMachine(directory: string): Promise<Machine> {
  const file = path.join(directory, 'sync-rate')
  const appended = syncsPerSecond(file)
  const overwritten = syncsPerSecond(file)
  await rm(file)
  return {
    processor: os.cpus()[0]?.model ?? 'unknown',
    processors: os.availableParallelism(),
    memoryMiB: Math.round(os.totalmem() / 1024 ** 2),
    system: `${os.type()} ${os.release()}`,
    node: process.versions.node,
    sqlite: process.versions['sqlite'] ?? 'unknown',
    fileSystem: statfsSync(directory).type.toString(16),
    appendSyncsPerSecond: appended,
    overwriteSyncsPerSecond: overwritten,
    loadAverage: os.loadavg()[0] ?? 0,
  }
}

/** By the median, because a single slow sync says little. */
function syncsPerSecond(file: string): number {
  const block = Buffer.alloc(4096, 1)
  const descriptor = openSync(file, 'a+')
  closeSync(descriptor)
  const writer = openSync(file, 'r+')
  try {
    const times: number[] = []
    for (let index = 0; index < SYNCS; index++) {
      const startMs = performance.now()
      writeSync(writer, block, 0, block.length, index * block.length)
      fdatasyncSync(writer)
      times.push(performance.now() - startMs)
    }
    return Math.round(1000 / median(times))
  } finally {
    closeSync(writer)
  }
}
