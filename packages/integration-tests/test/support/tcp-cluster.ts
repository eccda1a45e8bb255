/** Nodes over real TCP and real files, in folders that are removed, closed when the test ends. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, verifyCluster, type Client, type VerifyReport } from '@understudy/client'
import { rowFormat } from '@understudy/format-row'
import { createNode, type NodeEvent, type NodeOptions, type UnderstudyNode } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'
import { expect, onTestFinished } from 'vitest'

type EventOf<K extends NodeEvent['kind']> = Extract<NodeEvent, { kind: K }>

/** Events of one life of a node, and waiting for one of them: also one that was told already. */
export class Events {
  readonly all: NodeEvent[] = []
  readonly #waiting = new Set<() => void>()

  readonly listen = (event: NodeEvent): void => {
    this.all.push(event)
    for (const look of this.#waiting) look()
  }

  of<K extends NodeEvent['kind']>(kind: K): EventOf<K>[] {
    return this.all.filter((event): event is EventOf<K> => event.kind === kind)
  }

  async until<K extends NodeEvent['kind']>(
    kind: K,
    fits: (event: EventOf<K>) => boolean = () => true,
  ): Promise<EventOf<K>> {
    const { promise, resolve } = Promise.withResolvers<EventOf<K>>()
    const look = (): void => {
      const found = this.of(kind).find((event) => fits(event))
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

  async untilState(state: EventOf<'state'>['state']): Promise<EventOf<'state'>> {
    return this.until('state', (event) => event.state === state)
  }
}

export class TcpCluster {
  readonly folder: string
  /** Of the present life of each node. */
  readonly events: Record<string, Events> = {}
  readonly #nodes = new Map<string, UnderstudyNode>()
  readonly #clients: Client[] = []
  #leaderAddress = 'tcp://127.0.0.1:0'

  constructor() {
    this.folder = mkdtempSync(join(tmpdir(), 'understudy-scenario-'))
    onTestFinished(async () => {
      for (const client of this.#clients) await client.close()
      for (const node of [...this.#nodes.values()].toReversed()) await node.close()
      rmSync(this.folder, { recursive: true, force: true })
    })
  }

  get leaderAddress(): string {
    return this.#leaderAddress
  }

  directory(name: string): string {
    return join(this.folder, name)
  }

  /** Starts `a`, at the address that it had before. */
  async leader(options: Partial<NodeOptions> = {}): Promise<UnderstudyNode> {
    const node = await this.start('a', { role: 'leader', listen: this.#leaderAddress, ...options })
    this.#leaderAddress = node.address ?? this.#leaderAddress
    return node
  }

  async follower(name: string, options: Partial<NodeOptions> = {}): Promise<UnderstudyNode> {
    return this.start(name, {
      role: 'follower',
      leader: this.#leaderAddress,
      listen: 'tcp://127.0.0.1:0',
      ...options,
    })
  }

  async start(
    name: string,
    options: Partial<NodeOptions> & Pick<NodeOptions, 'role'>,
  ): Promise<UnderstudyNode> {
    const events = (this.events[name] = new Events())
    const node = await createNode({
      name,
      directory: this.directory(name),
      format: rowFormat(),
      transport: tcp(),
      onEvent: events.listen,
      ...options,
    })
    this.#nodes.set(`${name} ${this.#nodes.size}`, node)
    return node
  }

  async client(node: UnderstudyNode, cluster?: string): Promise<Client> {
    const client = await connect({
      transport: tcp(),
      address: node.address ?? '',
      ...(cluster !== undefined && { cluster }),
    })
    this.#clients.push(client)
    return client
  }

  /** Compares every table of all nodes at one position, which may pass while writes go on. */
  async verify(leader: UnderstudyNode, ...nodes: UnderstudyNode[]): Promise<VerifyReport> {
    const clients = await Promise.all(nodes.map((node) => this.client(node)))
    const report = await verifyCluster({
      leader: await this.client(leader),
      nodes: clients,
      timeoutMs: 20_000,
    })
    expect(report).toMatchObject({ ok: true })
    return report
  }
}

/** Until the follower shows all that the leader shows now. */
export async function caughtUp(leader: UnderstudyNode, ...followers: UnderstudyNode[]): Promise<void> {
  for (const follower of followers) await follower.read(() => 0, { after: leader.applied, timeoutMs: 60_000 })
}

/** Writers that go on until told to stop. */
export interface Load {
  /** Acknowledged writes. */
  readonly writes: number
  /** Resolves once so many writes more are acknowledged. */
  more(writes: number): Promise<void>
  /** Resolves when the last write was answered. */
  stop(): Promise<void>
}

/** `writers` concurrent writers; `write` is called with a number of its own each time. */
export function load(writers: number, write: (n: number) => Promise<unknown>): Load {
  const end = new AbortController()
  let next = 0
  let writes = 0
  const waiting = new Set<() => void>()
  const running = Promise.all(
    Array.from({ length: writers }, async () => {
      while (!end.signal.aborted) {
        await write(next++)
        writes++
        for (const look of waiting) look()
      }
    }),
  )
  running.catch(() => {})
  return {
    get writes() {
      return writes
    },
    async more(count) {
      const target = writes + count
      const enough = Promise.withResolvers<void>()
      const look = (): void => {
        if (writes >= target) enough.resolve()
      }
      waiting.add(look)
      look()
      await Promise.race([enough.promise, running.then(() => undefined)])
      waiting.delete(look)
    },
    async stop() {
      end.abort()
      await running
    },
  }
}

/** The table that most scenarios write into, with rows of `bytes` each. */
export async function fill(leader: UnderstudyNode, rows: number, bytes: number = 100): Promise<void> {
  await leader.write((tx) => {
    tx.exec('create table if not exists note (id integer primary key autoincrement, body text)')
    for (let i = 0; i < rows; i++) tx.run('insert into note (body) values (?)', [`${i} `.padEnd(bytes, 'x')])
  })
}

export function insertNote(leader: UnderstudyNode, body: string): ReturnType<UnderstudyNode['write']> {
  return leader.write([{ sql: 'insert into note (body) values (?)', params: [body] }])
}

export async function countOf(node: UnderstudyNode, table: string = 'note'): Promise<number> {
  const row = await node.read((tx) => tx.get(`select count(*) as n from ${table}`))
  return Number(row?.['n'])
}
