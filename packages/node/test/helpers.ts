/** Nodes of one test: in folders that are removed, on a transport within the process, closed when the test ends. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LogFormat, SqliteConnection, Transport } from '@understudy/contracts'
import { rowFormat } from '@understudy/format-row'
import { memoryTransport } from '@understudy/testkit/memory-transport'
import { onTestFinished } from 'vitest'
import { createNode, type NodeEvent, type NodeOptions, type UnderstudyNode } from '../src/index.ts'

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'understudy-node-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Events of one node, and waiting for one of them: also one that was told already. */
export class Events {
  readonly all: NodeEvent[] = []
  readonly #waiting = new Set<() => void>()

  readonly listen = (event: NodeEvent): void => {
    this.all.push(event)
    for (const look of this.#waiting) look()
  }

  async until<K extends NodeEvent['kind']>(
    kind: K,
    fits: (event: Extract<NodeEvent, { kind: K }>) => boolean = () => true,
  ): Promise<Extract<NodeEvent, { kind: K }>> {
    const { promise, resolve } = Promise.withResolvers<Extract<NodeEvent, { kind: K }>>()
    const look = (): void => {
      const found = this.all.find(
        (event): event is Extract<NodeEvent, { kind: K }> =>
          event.kind === kind && fits(event as Extract<NodeEvent, { kind: K }>),
      )
      if (found !== undefined) resolve(found)
    }
    this.#waiting.add(look)
    look()
    try {
      return await promise
    } finally {
      this.#waiting.delete(look)
    }
  }
}

export class Cluster {
  readonly folder: string = temporaryFolder()
  readonly transport: Transport = memoryTransport()
  readonly format: LogFormat<SqliteConnection> = rowFormat()
  readonly events: Record<string, Events> = {}
  readonly #nodes: UnderstudyNode[] = []

  constructor() {
    onTestFinished(async () => {
      for (const node of this.#nodes.toReversed()) await node.close()
    })
  }

  options(
    name: string,
    role: 'leader' | 'follower',
    more: Partial<NodeOptions> = {},
  ): NodeOptions & { readonly directory: string } {
    const events = (this.events[name] = new Events())
    return {
      name,
      role,
      directory: join(this.folder, name),
      format: this.format,
      transport: this.transport,
      onEvent: events.listen,
      listen: `memory://${name}`,
      ...(role === 'follower' && { leader: 'memory://a' }),
      ...more,
    }
  }

  async start(
    name: string,
    role: 'leader' | 'follower',
    more: Partial<NodeOptions> = {},
  ): Promise<UnderstudyNode> {
    const node = await createNode(this.options(name, role, more))
    this.#nodes.push(node)
    return node
  }

  /** A leader `a` with a table `note` that holds `rows` rows. */
  async leader(rows: number = 0, more: Partial<NodeOptions> = {}): Promise<UnderstudyNode> {
    const node = await this.start('a', 'leader', more)
    await node.write((tx) => tx.exec('create table note (id integer primary key, body text)'))
    await node.write((tx) => {
      for (let id = 1; id <= rows; id++) tx.run('insert into note values (?, ?)', [id, `note ${id}`])
    })
    return node
  }
}

export async function countNotes(node: UnderstudyNode): Promise<unknown> {
  return (await node.read((tx) => tx.get('select count(*) as n from note')))?.['n']
}
