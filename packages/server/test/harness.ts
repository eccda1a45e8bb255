import { ORIGIN, type UnderstudyError } from '@understudy/contracts'
import {
  Connection,
  PROTOCOL_VERSION,
  PROTOCOL_VERSION_MIN,
  type Hello,
  type Message,
  type RequestBody,
  type ResponseBody,
} from '@understudy/protocol'
import { memoryTransport, SimulatedClock } from '@understudy/testkit'
import { onTestFinished } from 'vitest'
import {
  serveClient,
  type ClientHandlers,
  type ClientSession,
  type NodeIdentity,
  type ServeOptions,
} from '../src/index.ts'

export const IDENTITY: NodeIdentity = {
  cluster: 'c1',
  node: 'a',
  history: [],
  end: { epoch: 3, lsn: 9, crc: 7 },
}

export const HELLO: Hello = {
  type: 'hello',
  versionMin: PROTOCOL_VERSION_MIN,
  versionMax: PROTOCOL_VERSION,
  purpose: 'client',
  cluster: '',
  node: 'test',
  history: [],
  end: ORIGIN,
  formats: [],
}

/** A handler of which a test knows when it was called, and which it answers when it likes. */
export interface Deferred<T> {
  readonly promise: Promise<T>
  resolve(value: T): void
  reject(error: unknown): void
}

export function deferred<T>(): Deferred<T> {
  return Promise.withResolvers<T>()
}

const unexpectedCall = (): never => {
  throw new Error('this handler was not to be called')
}

/** Handlers of which a test gives those it means to be called. */
export function handlers(given: Partial<ClientHandlers>): ClientHandlers {
  return {
    status: unexpectedCall,
    write: unexpectedCall,
    read: unexpectedCall,
    exposure: unexpectedCall,
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
    dropSlot: unexpectedCall,
    forget: unexpectedCall,
    switchFormat: unexpectedCall,
    setAcks: unexpectedCall,
    promote: unexpectedCall,
    switchover: unexpectedCall,
    pauseFailover: unexpectedCall,
    decisions: unexpectedCall,
    ...given,
  }
}

/** A raw peer of a session: sends what it likes, and sees each message. */
export interface Peer {
  readonly connection: Connection
  readonly session: ClientSession
  readonly clock: SimulatedClock
  readonly received: Message[]
  readonly closed: Promise<UnderstudyError | undefined>
  ask(id: number, body: RequestBody): void
  /** Resolves with the body of the response to `id`. */
  response(id: number): Promise<ResponseBody>
}

export interface SessionSetup extends Partial<Omit<ServeOptions, 'clock'>> {
  readonly handlers?: Partial<ClientHandlers>
  readonly hello?: Partial<Hello>
}

export async function startSession(setup: SessionSetup = {}): Promise<Peer> {
  const { handlers: given = {}, hello, ...options } = setup
  const clock = new SimulatedClock()
  const transport = memoryTransport()
  const accepted = deferred<Connection>()
  const listener = await transport.listen('memory://node', (channel) =>
    accepted.resolve(new Connection(channel, clock)),
  )
  onTestFinished(() => listener.close())
  const connection = new Connection(await transport.connect('memory://node'), clock)
  connection.send({ ...HELLO, ...hello })
  const theirs = await accepted.promise
  const first = await theirs.next({ timeoutMs: 1000 })
  const session = serveClient(theirs, first as Hello, handlers(given), {
    identity: IDENTITY,
    ...options,
    clock,
  })
  return peer(connection, session, clock)
}

function peer(connection: Connection, session: ClientSession, clock: SimulatedClock): Peer {
  const received: Message[] = []
  const waiting = new Map<number, (body: ResponseBody) => void>()
  const ended = deferred<UnderstudyError | undefined>()
  connection.frameBytesMax = 16 * 1024 * 1024
  connection.start({
    message: (message) => {
      received.push(message)
      if (message.type === 'response') waiting.get(message.id)?.(message.body)
    },
    drained: () => {},
    closed: (error) => ended.resolve(error),
  })
  return {
    connection,
    session,
    clock,
    received,
    closed: ended.promise,
    ask: (id, body) => void connection.send({ type: 'request', id, body }),
    response: (id) =>
      new Promise((resolve) => {
        const there = received.find((message) => message.type === 'response' && message.id === id)
        if (there?.type === 'response') resolve(there.body)
        else waiting.set(id, resolve)
      }),
  }
}

/** Lets frames travel: enough turns of the event loop for several hops. */
export async function turns(count = 20): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise<void>((resolve) => void setImmediate(resolve))
}
