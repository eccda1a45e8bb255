/** The process of a node that may lead or follow, whichever its directory is started as: for benchmarks of failover. */
import { performance } from 'node:perf_hooks'
import { setTimeout as delay } from 'node:timers/promises'
import { UnderstudyError, type Position } from '@understudy/contracts'
import { nodeFiles } from '@understudy/log'
import {
  createNode,
  readNodeState,
  writeNodeState,
  type NodeOptions,
  type UnderstudyNode,
} from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'
import { FORMAT_NAMES, formatOf, type FormatName } from '../formats.ts'
import { serve } from './serve.ts'
import { SocketBytes } from './socket-bytes.ts'

interface State {
  node: UnderstudyNode | undefined
  /** Bytes of pages that a bootstrap of this life brought; `undefined` without one. */
  bootstrapBytes: number | undefined
}

const state: State = { node: undefined, bootstrapBytes: undefined }
const sockets = new SocketBytes()

interface Where {
  readonly name: string
  readonly directory: string
  readonly format: FormatName
}

const calls = {
  /** Leads; `isPromoted`: with the directory of a follower, because a person decides so. The address that followers connect to. */
  async lead({
    importFrom,
    isPromoted = false,
    ...where
  }: Where & { readonly importFrom?: string; readonly isPromoted?: boolean }): Promise<string> {
    if (isPromoted) promote(where.directory)
    state.node = await createNode({
      ...optionsOf(where),
      role: 'leader',
      listen: 'tcp://127.0.0.1:0',
      ...(importFrom !== undefined && { importFrom }),
    })
    return state.node.address as string
  },

  /** Follows; `rejoin`: with the directory of a former leader. Milliseconds until there is data to read. */
  async follow({
    leader,
    rejoin = false,
    ...where
  }: Where & { readonly leader: string; readonly rejoin?: boolean }): Promise<number> {
    const startMs = performance.now()
    state.node = await createNode({ ...optionsOf(where), role: 'follower', leader, rejoin })
    return performance.now() - startMs
  },

  bootstrapBytes(): number | undefined {
    return state.bootstrapBytes
  },

  async switchFormat(format: FormatName): Promise<void> {
    await opened().switchFormat(format)
  },

  /** Commits one after another, each a record of its own: one row is new, one of the first `rows` changes. */
  async commits({ count, rows }: { readonly count: number; readonly rows: number }): Promise<void> {
    const node = opened()
    for (let commit = 0; commit < count; commit++)
      await node.write((tx) => {
        tx.run('insert into kv (k, v, n) values (?, ?, ?)', [`new ${commit}`, 'x'.repeat(100), commit])
        // Far from each other: a multiplicative step over all rows.
        tx.run('update kv set n = n + 1 where id = ?', [1 + ((commit * 7919) % rows)])
      })
  },

  async exec(sql: string): Promise<void> {
    await opened().write((tx) => tx.exec(sql))
  },

  position(): Position {
    const { epoch, lsn } = opened().applied
    return { epoch, lsn }
  },

  async waitFor(position: Position): Promise<void> {
    await opened().read((tx) => tx.get('select 1'), { after: position, timeoutMs: 600_000 })
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

  async close(): Promise<void> {
    await state.node?.close()
    state.node = undefined
  },
} as const

export type MemberCalls = typeof calls

function optionsOf({ name, directory, format }: Where): Omit<NodeOptions, 'role'> {
  return {
    name,
    directory,
    format: formatOf(format),
    formats: FORMAT_NAMES.filter((other) => other !== format).map((other) => formatOf(other)),
    transport: tcp(),
    onEvent: (event) => {
      if (event.kind === 'bootstrapped') state.bootstrapBytes = event.transferredBytes
    },
  }
}

function promote(directory: string): void {
  const files = nodeFiles()
  const before = readNodeState(files, directory)
  if (before === undefined)
    throw new UnderstudyError('REQUEST_FAILED', `${directory} holds no node. Nothing was measured.`)
  writeNodeState(files, directory, { ...before, led: true })
}

function opened(): UnderstudyNode {
  if (state.node === undefined) throw new TypeError('lead or follow comes first')
  return state.node
}

serve(calls)
