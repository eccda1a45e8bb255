/** The process with the leader and its callers: callers use the node as a program does that embeds it. */
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import type { Position } from '@understudy/contracts'
import { nodeFiles } from '@understudy/log'
import { createNode, type AckPolicy, type UnderstudyNode } from '@understudy/node'
import {
  Load,
  type Acknowledged,
  type CommitNotes,
  type LoadOpenOptions,
  type LoadRunOptions,
  type LoadSample,
} from '../load/load-calls.ts'
import { formatFrom } from '../formats.ts'
import { CREATE_TABLE, INSERT, Rows } from '../table.ts'
import { leaderAccess, type Wire } from '../wire.ts'
import { CountedFiles } from './counted-files.ts'
import { EmbeddedConnections } from './embedded.ts'
import { memoryAfterCollection } from './memory.ts'
import { runLoad, runPaced, type LoadResult } from './load.ts'
import { cpuSeconds } from './processor-time.ts'
import { serve } from './serve.ts'
import { SocketBytes } from './socket-bytes.ts'

interface State {
  node: UnderstudyNode | undefined
  background: { readonly stop: AbortController; readonly result: Promise<LoadResult> } | undefined
}

const state: State = { node: undefined, background: undefined }
const rows = new Rows()
const sockets = new SocketBytes()
const counted = new CountedFiles(nodeFiles())
const workload = new Load()

const calls = {
  /** The writers of the workload for a time. */
  run(options: LoadRunOptions): Promise<LoadSample> {
    return workload.run(options)
  },

  notes(): CommitNotes {
    return workload.notes()
  },

  acknowledged(): Acknowledged {
    return workload.acknowledged()
  },

  /** The address that followers connect to. */
  async open({
    name = 'leader',
    directory,
    importFrom,
    format,
    wire,
    acks,
  }: {
    readonly name?: string
    readonly directory: string
    readonly format?: string
    readonly importFrom?: string
    /** Given: `createTable` follows once there are followers, without whom nothing may be acknowledged. */
    readonly acks?: AckPolicy
    readonly wire?: Wire
  }): Promise<string> {
    state.node = await createNode({
      name,
      directory,
      role: 'leader',
      files: counted.files,
      format: await formatFrom(format),
      ...(await leaderAccess(wire)),
      ...(importFrom !== undefined && { importFrom }),
      ...(acks && { acks }),
    })
    if (importFrom === undefined && acks === undefined) await state.node.write((tx) => tx.exec(CREATE_TABLE))
    return state.node.address as string
  },

  /** The callers of a workload live here; `run` is theirs. */
  async openLoad(options: LoadOpenOptions): Promise<void> {
    await workload.open(options, new EmbeddedConnections(opened()))
  },

  /** Lets go of a follower that is gone, as soon as the leader knows it. */
  async forget(name: string): Promise<void> {
    while (
      opened()
        .status()
        .followers?.some((follower) => follower.name === name)
    )
      await delay(5)
    opened().forget(name)
  },

  /** Bytes appended to the log so far. */
  logBytes(): number {
    return counted.logBytes
  },

  /** The first column of each row. */
  async column(sql: string): Promise<readonly string[]> {
    return opened().read((tx) => tx.all(sql).map((row) => String(Object.values(row)[0])))
  },

  /** An empty table, in the place of the one before. */
  async createTable(): Promise<void> {
    await opened().write((tx) => tx.exec(`drop table if exists kv; ${CREATE_TABLE}`))
  },

  /** Names of the followers that stream. */
  streaming(): string[] {
    const { followers = [] } = opened().status()
    return followers.filter(({ state }) => state === 'streaming').map(({ name }) => name)
  },

  /** Callers for a time. */
  async load({
    writers,
    seconds,
  }: {
    readonly writers: number
    readonly seconds: number
  }): Promise<LoadResult> {
    const signal = AbortSignal.timeout(seconds * 1000)
    return runLoad({ writers, signal, write: writeRow })
  },

  /** Writes a number of rows, one per write. Returns the seconds that it took. */
  async writeRows({ writers, count }: { readonly writers: number; readonly count: number }): Promise<number> {
    const startMs = performance.now()
    let left = count
    const caller = async (): Promise<void> => {
      while (left-- > 0) await writeRow()
    }
    await Promise.all(Array.from({ length: writers }, caller))
    return (performance.now() - startMs) / 1000
  },

  /** One statement that touches the first rows: how many it touched. */
  async updateFirst(rowsMax: number): Promise<number> {
    const { value } = await opened().write((tx) => tx.run('update kv set n = n + 1 where id <= ?', [rowsMax]))
    return Number(value.changes)
  },

  /** Callers until `stop`; paced when `perSecond` is given. */
  start({ writers, perSecond }: { readonly writers: number; readonly perSecond?: number }): void {
    const stop = new AbortController()
    const options = { writers, signal: stop.signal, write: writeRow }
    const result = perSecond === undefined ? runLoad(options) : runPaced({ ...options, perSecond })
    state.background = { stop, result }
  },

  async stop(): Promise<LoadResult> {
    if (state.background === undefined) throw new TypeError('start comes first')
    state.background.stop.abort()
    const result = await state.background.result
    state.background = undefined
    return result
  },

  /** The position of the last visible commit. */
  position(): Position {
    const { epoch, lsn } = opened().applied
    return { epoch, lsn }
  },

  async mark(): Promise<Position> {
    const { epoch, lsn } = await opened().mark()
    return { epoch, lsn }
  },

  async digest(at: Position): Promise<readonly unknown[]> {
    return opened().digest(at, { timeoutMs: 120_000 })
  },

  /** Bytes sent to and received from followers so far. */
  async wireBytes(): Promise<number> {
    // What was handed to a socket in this turn is counted when it was taken.
    await delay(50)
    return sockets.total
  },

  /** Connections that were accepted and are open, the follower's included. */
  connections(): number {
    return sockets.open
  },

  /** Processor time of this process so far. */
  cpuSeconds(): number {
    return cpuSeconds()
  },

  /** Resident bytes after a full collection of garbage. */
  memory(): Promise<number> {
    return memoryAfterCollection()
  },

  async checkpoint(): Promise<void> {
    await opened().checkpoint()
  },

  async close(): Promise<void> {
    state.background?.stop.abort()
    await state.background?.result
    await state.node?.close()
    state.node = undefined
  },
} as const

export type LeaderCalls = typeof calls

function opened(): UnderstudyNode {
  if (state.node === undefined) throw new TypeError('open comes first')
  return state.node
}

function writeRow(): Promise<{ readonly value: number | bigint }> {
  return opened().write((tx) => tx.run(INSERT, rows.next()).lastInsertRowid)
}

serve(calls)
