/** The process with the follower. */
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import type { Position } from '@understudy/contracts'
import { createNode, type UnderstudyNode } from '@understudy/node'
import { formatFrom } from '../formats.ts'
import { dialAccess, type Wire } from '../wire.ts'
import { cpuSeconds } from './processor-time.ts'
import { serve } from './serve.ts'
import { SocketBytes } from './socket-bytes.ts'
import { ReplicaWatch, type ReplicaNotes } from './replica-watch.ts'

interface State {
  node: UnderstudyNode | undefined
  replicaWatch: ReplicaWatch | undefined
}

const state: State = { node: undefined, replicaWatch: undefined }
/** Resident memory before the node was created, and the highest seen since, in bytes. */
const memory = { before: 0, peak: 0 }
const sockets = new SocketBytes('client')

const calls = {
  /** Milliseconds until there is data to read. */
  async open({
    name = 'follower',
    directory,
    leader,
    format,
    wire,
  }: {
    readonly name?: string
    readonly directory: string
    readonly format?: string
    readonly leader: string
    readonly wire?: Wire
  }): Promise<number> {
    globalThis.gc?.()
    memory.before = process.memoryUsage.rss()
    memory.peak = memory.before
    const sampler = setInterval(() => {
      memory.peak = Math.max(memory.peak, process.memoryUsage.rss())
    }, 10)
    const startMs = performance.now()
    state.node = await createNode({
      name,
      directory,
      role: 'follower',
      leader,
      format: await formatFrom(format),
      ...(await dialAccess(wire)),
    })
    const openMs = performance.now() - startMs
    clearInterval(sampler)
    memory.peak = Math.max(memory.peak, process.memoryUsage.rss())
    return openMs
  },

  /** Bytes of memory that opening took at most. */
  openMemory(): number {
    return memory.peak - memory.before
  },

  /** Milliseconds until the position is visible here. */
  async waitFor(position: Position): Promise<number> {
    const startMs = performance.now()
    await opened().read((tx) => tx.get('select 1'), { after: position, timeoutMs: 600_000 })
    return performance.now() - startMs
  },

  async digest(at: Position): Promise<readonly unknown[]> {
    return opened().digest(at, { timeoutMs: 120_000 })
  },

  /** Readers begin to note what they see, and when. */
  observe(): void {
    state.replicaWatch = new ReplicaWatch(opened())
  },

  async observed(): Promise<ReplicaNotes> {
    if (state.replicaWatch === undefined) throw new TypeError('observe comes first')
    return state.replicaWatch.stop()
  },

  /** Bytes sent to and received from the leader so far. */
  async wireBytes(): Promise<number> {
    await delay(50)
    return sockets.total
  },

  /** LSNs: of what readers see here, and of what is durable in the log. */
  reached(): { readonly applied: number; readonly durable: number } {
    return { applied: opened().applied.lsn, durable: opened().status().durable }
  },

  /** The first column of each row. */
  async column(sql: string): Promise<readonly string[]> {
    return opened().read((tx) => tx.all(sql).map((row) => String(Object.values(row)[0])))
  },

  /** Processor time of this process so far. */
  cpuSeconds(): number {
    return cpuSeconds()
  },

  async close(): Promise<void> {
    await state.node?.close()
    state.node = undefined
  },
} as const

export type FollowerCalls = typeof calls

function opened(): UnderstudyNode {
  if (state.node === undefined) throw new TypeError('open comes first')
  return state.node
}

serve(calls)
