/**
 * A real leader with a real database and log, in this process, on simulated time; only its syncs do nothing.
 */
import { join } from 'node:path'
import type { FileHandle, Files } from '@understudy/contracts'
import { connect, type Client } from '@understudy/client'
import { rowFormat } from '@understudy/format-row'
import { nodeFiles } from '@understudy/log'
import { createNode, type UnderstudyNode } from '@understudy/node'
import { dial, grants, verifierOf, type Connection, type Credential, type Grant } from '@understudy/protocol'
import type { SimulatedClock, SeededRandom } from '@understudy/testkit'
import { PipeTransport } from './pipe.ts'
import type { RunContext } from './position.ts'
import type { Watch } from './watch.ts'
import { WatchedClock } from './watched-clock.ts'

export const LEADER = 'pipe://a'

export class NodeWorld {
  readonly clock: SimulatedClock
  readonly transport: PipeTransport
  readonly node: UnderstudyNode
  readonly random: SeededRandom
  readonly watch: Watch
  readonly credential: Credential | undefined

  private constructor(
    parts: Pick<NodeWorld, 'clock' | 'transport' | 'node' | 'random' | 'watch' | 'credential'>,
  ) {
    this.clock = parts.clock
    this.transport = parts.transport
    this.node = parts.node
    this.random = parts.random
    this.watch = parts.watch
    this.credential = parts.credential
  }

  static async open(
    { random, watch, folder }: RunContext,
    options: { readonly authenticated: boolean },
  ): Promise<NodeWorld> {
    const clock = new WatchedClock(watch)
    const transport = new PipeTransport(watch)
    const secret = random.fork('secret').bytes(32)
    const grant: Grant = {
      name: 'b',
      roles: ['replicate', 'snapshot', 'read', 'write', 'admin'],
      verifier: verifierOf(secret),
    }
    const node = await createNode({
      name: 'a',
      directory: join(folder, 'a'),
      role: 'leader',
      format: rowFormat(),
      transport,
      listen: LEADER,
      clock,
      random: random.fork('node'),
      files: withoutSyncs(),
      readers: 1,
      onEvent: (event) => {
        if ('error' in event && event.error !== undefined) watch.judge(event.error)
      },
      ...(options.authenticated && { credentials: grants([grant]), compression: true }),
    })
    await node.write((tx) => {
      tx.exec('create table t (id integer primary key, v text, w blob)')
      for (let i = 1; i <= 8; i++) tx.run('insert into t values (?, ?, ?)', [i, `row ${i}`, Buffer.alloc(i)])
    })
    const credential = options.authenticated ? { name: 'b', secret } : undefined
    return new NodeWorld({ clock, transport, node, random, watch, credential })
  }

  /** A connection on which the Hello is next. */
  dial(compression: boolean = false): Promise<Connection> {
    const { transport, clock, random, credential } = this
    return dial({
      transport,
      address: LEADER,
      clock,
      timeoutMs: 5000,
      frameBytesMax: 16 * 1024 * 1024,
      as: credential && { credential, compression, random },
    })
  }

  client(compression: boolean = false): Promise<Client> {
    const { transport, clock, random, credential } = this
    return connect({
      transport,
      address: LEADER,
      clock,
      random,
      ...(credential && { credential, compression }),
    })
  }

  /** Somebody sound still gets in, writes and reads what was written. */
  async checkUntouched(): Promise<void> {
    const { watch, transport, node } = this
    transport.opened = undefined
    if (node.failure !== undefined) watch.fail(`the node failed: ${node.failure.code}`, node.failure)
    watch.check()
    const mark = `untouched ${this.random.uint32()}`
    const client = await this.clock.complete(this.client())
    await this.clock.complete(
      client.write([{ sql: 'insert or replace into t values (9, ?, null)', params: [mark] }]),
    )
    const { rows } = await this.clock.complete(client.read('select v from t where id = 9'))
    if (rows[0]?.[0] !== mark) watch.fail(`a sound client read ${JSON.stringify(rows)} for ${mark}`)
    await client.close()
    watch.check()
  }

  async close(): Promise<void> {
    await this.node.close()
  }
}

/** A disk that is never waited for: the fuzzer does not pull the plug. */
function withoutSyncs(): Files {
  const real = nodeFiles()
  return {
    ...real,
    syncDirectory: () => undefined,
    open: (path, options) => new UnsyncedHandle(real.open(path, options)),
  }
}

class UnsyncedHandle implements FileHandle {
  readonly path: string
  readonly #real: FileHandle

  constructor(real: FileHandle) {
    this.#real = real
    this.path = real.path
  }

  size(): number {
    return this.#real.size()
  }

  read(target: Uint8Array, offset: number): number {
    return this.#real.read(target, offset)
  }

  write(parts: readonly Uint8Array[], offset: number): void {
    this.#real.write(parts, offset)
  }

  truncate(size: number): void {
    this.#real.truncate(size)
  }

  dataSyncNow(): void {}

  async dataSync(): Promise<void> {}

  close(): void {
    this.#real.close()
  }
}
