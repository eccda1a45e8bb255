/** Nodes of a cluster with failover in one process, each a member; what they do is awaited, whoever does it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  UnderstudyError,
  isUnderstudyError,
  type Coordinator,
  type LogFormat,
  type SqliteConnection,
  type Observation,
  type Transport,
  type WriteTransaction,
} from '@understudy/contracts'
import { sqliteCoordinator } from '@understudy/coordinator-sqlite'
import type { FailoverOptions } from '@understudy/failover'
import { rowFormat } from '@understudy/format-row'
import { createNode, semiSync, type NodeEvent, type NodeOptions, type UnderstudyNode } from '@understudy/node'
import { memoryTransport } from '@understudy/testkit/memory-transport'
import { onTestFinished } from 'vitest'

export interface FailoverNodesOptions {
  readonly names?: readonly string[]
  readonly format?: () => LogFormat<SqliteConnection>
  readonly manual?: boolean
  readonly failover?: Partial<FailoverOptions>
  /** `acks` is semi-synchronous unless they say something, or a profile. */
  readonly node?: Partial<NodeOptions>
  /** Each node's own, before those of `start`. */
  readonly each?: (name: string) => Partial<NodeOptions>
}

/** Each wait is far shorter on any machine that is alive. */
const WAIT_MS = 60_000

export class FailoverNodes {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'understudy-failover-'))
  readonly transport: Transport = memoryTransport()
  readonly names: readonly string[]
  readonly events: Map<string, NodeEvent[]> = new Map()
  readonly #nodes = new Map<string, UnderstudyNode>()
  readonly #options: FailoverNodesOptions
  /** Called with each look of a wait. */
  onLook: () => void = () => {}
  #changed: () => void = () => {}
  #observer: Coordinator | undefined

  constructor(options: FailoverNodesOptions = {}) {
    this.#options = options
    this.names = options.names ?? ['a', 'b', 'c']
    onTestFinished(async () => {
      for (const node of this.#nodes.values()) await node.close()
      await this.#observer?.close()
      rmSync(this.folder, { recursive: true, force: true })
    })
  }

  directory(name: string): string {
    return join(this.folder, name)
  }

  node(name: string): UnderstudyNode {
    return this.#nodes.get(name) as UnderstudyNode
  }

  /** All nodes that run. */
  get nodes(): UnderstudyNode[] {
    return [...this.#nodes.values()]
  }

  get leader(): UnderstudyNode | undefined {
    return this.nodes.find((node) => node.status().state === 'leading')
  }

  async start(name: string, more: Partial<NodeOptions> = {}): Promise<UnderstudyNode> {
    const { format = rowFormat, manual = false, failover, node, each } = this.#options
    const given = { ...node, ...each?.(name), ...more }
    const events: NodeEvent[] = []
    this.events.set(name, events)
    const started = await createNode({
      name,
      role: name === this.names[0] ? 'leader' : 'follower',
      directory: this.directory(name),
      format: format(),
      transport: this.transport,
      listen: `memory://${name}`,
      ...(given.profile === undefined && { acks: semiSync(this.names.slice(1)) }),
      ...given,
      failover: {
        members: this.names.map((member) => ({ name: member, address: `memory://${member}` })),
        ...(!manual && { coordinator: await this.#coordinator() }),
        ...failover,
      },
      onEvent: (event) => {
        events.push(event)
        this.#changed()
      },
    })
    this.#nodes.set(name, started)
    return started
  }

  async startAll(): Promise<UnderstudyNode> {
    for (const name of this.names) await this.start(name)
    await this.untilAllStream()
    return this.leader as UnderstudyNode
  }

  /** What is published now. */
  async observe(): Promise<Observation> {
    this.#observer ??= await this.#coordinator()
    return this.#observer.observe()
  }

  #coordinator(): Promise<Coordinator> {
    return sqliteCoordinator({ path: join(this.folder, 'coordinator.db') })
  }

  async close(name: string): Promise<void> {
    const node = this.node(name)
    this.#nodes.delete(name)
    await node.close()
  }

  /** Until it is so; looked at after each event and, because not everything is one, every few milliseconds. */
  async until(what: string, holds: () => boolean): Promise<void> {
    const deadline = performance.now() + WAIT_MS
    for (;;) {
      this.onLook()
      if (holds()) return
      if (performance.now() > deadline)
        throw new UnderstudyError('TIMEOUT', `${what}: not within ${WAIT_MS} ms\n${this.describe()}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 10)
        this.#changed = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }

  async untilAllStream(): Promise<void> {
    await this.until('one leads, all others stream', () => {
      const { leader, nodes } = this
      return (
        leader !== undefined && nodes.every((node) => node === leader || node.status().state === 'streaming')
      )
    })
  }

  /** Writes on whoever leads, again when it was not written. */
  async write<R>(body: (tx: WriteTransaction) => R): Promise<R> {
    for (;;) {
      await this.until('one leads', () => this.leader !== undefined)
      try {
        return (await (this.leader as UnderstudyNode).write(body)).value
      } catch (error) {
        if (!isUnderstudyError(error) || !AGAIN.has(error.code)) throw error
      }
    }
  }

  describe(): string {
    return this.nodes
      .map((node) => {
        const { state, position, failover, failure } = node.status()
        return `${node.name}: ${state} ${position} ${failover?.phase} ${failover?.decision?.reasons.at(-1) ?? ''} ${failure?.message ?? ''}`
      })
      .join('\n')
  }
}

const AGAIN: ReadonlySet<string> = new Set(['NOT_LEADER', 'NOT_WRITTEN', 'CLOSED'])
