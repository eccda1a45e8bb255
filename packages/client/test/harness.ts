import type { Channel, Transport } from '@understudy/contracts'
import { Connection, type Hello } from '@understudy/protocol'
import { serveClient, type ClientHandlers, type ClientSession, type NodeIdentity } from '@understudy/server'
import { memoryTransport, SimulatedClock } from '@understudy/testkit'
import { onTestFinished } from 'vitest'
import { connect, type Client, type ConnectOptions } from '../src/index.ts'

const unexpectedCall = (): never => {
  throw new Error('this handler was not to be called')
}

export interface FakeNode {
  readonly name?: string
  readonly cluster?: string
  readonly handlers?: Partial<ClientHandlers>
}

/** Nodes in this process, with the real server, and time that stands still until a test moves it. */
export class Cluster {
  readonly clock: SimulatedClock = new SimulatedClock()
  readonly transport: Transport = memoryTransport()
  readonly sessions: ClientSession[] = []
  readonly hellos: Hello[] = []

  /** Listens at `memory://name`. */
  async start(node: FakeNode = {}): Promise<string> {
    const { name = 'a', cluster = 'c1', handlers = {} } = node
    const identity: NodeIdentity = { cluster, node: name, history: [], end: { epoch: 1, lsn: 1, crc: 1 } }
    const all: ClientHandlers = {
      status: unexpectedCall,
      write: unexpectedCall,
      read: unexpectedCall,
      whoLeads: unexpectedCall,
      mark: unexpectedCall,
      digest: unexpectedCall,
      rows: unexpectedCall,
      release: unexpectedCall,
      describe: unexpectedCall,
      openRead: unexpectedCall,
      openWrite: unexpectedCall,
      verdict: unexpectedCall,
      reach: unexpectedCall,
      slots: unexpectedCall,
      exposure: unexpectedCall,
      dropSlot: unexpectedCall,
      forget: unexpectedCall,
      switchFormat: unexpectedCall,
      setAcks: unexpectedCall,
      promote: unexpectedCall,
      switchover: unexpectedCall,
      pauseFailover: unexpectedCall,
      decisions: unexpectedCall,
      ...handlers,
    }
    return this.listen(name, async (channel) => {
      const connection = new Connection(channel, this.clock)
      const hello = (await connection.next({ timeoutMs: 1000 })) as Hello
      this.hellos.push(hello)
      this.sessions.push(serveClient(connection, hello, all, { clock: this.clock, identity }))
    })
  }

  /** A node that does what the test likes. */
  async listen(name: string, accept: (channel: Channel) => unknown): Promise<string> {
    const listener = await this.transport.listen(`memory://${name}`, (channel) => void accept(channel))
    onTestFinished(() => listener.close())
    return listener.address
  }

  async connect(address: string, options: Partial<ConnectOptions> = {}): Promise<Client> {
    const client = await connect({ transport: this.transport, address, clock: this.clock, ...options })
    onTestFinished(() => client.close())
    return client
  }
}

/** Lets frames travel: enough turns of the event loop for several hops. */
export async function turns(count = 20): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise<void>((resolve) => void setImmediate(resolve))
}

/** What a promise rejects with; listened for at once, so that it may settle at any time. */
export function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => {
      throw new Error(`it resolved with ${String(value)}`)
    },
    (error: unknown) => error,
  )
}
