/**
 * One end of a connection, in a process of its own: sends messages of one size for a time, or counts what comes.
 *
 * Decides: what a measurement is. The receiver's clock counts, from its first byte to the end of the connection, which
 * the sender ends after its last message is out; so every byte is in it, and nothing of the handshakes.
 *
 * 1. Senders gather half a MiB of messages in a turn of the event loop, and go on when no more than 1 MiB waits to be
 *    taken by the operating system: the same for bare sockets and transports.
 * 2. A bare socket is corked for the turn, so that its messages leave in one write. It carries no lengths, and its receiver
 *    only counts bytes: messages that nobody could tell apart, at the price of nothing.
 */
import { once } from 'node:events'
import { performance } from 'node:perf_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import { dial, listen, type End, type EndOptions } from './ends.ts'
import { cpuSeconds } from './processor-time.ts'
import { serve } from './serve.ts'

export interface Received {
  readonly bytes: number
  readonly seconds: number
  /** Processor time of the process for it, all threads. */
  readonly cpuSeconds: number
  /** Absent where the receiver cannot tell messages apart. */
  readonly messages?: number
}

export interface Sent {
  readonly messages: number
  readonly cpuSeconds: number
}

export interface Task {
  readonly role: 'send' | 'receive'
  readonly size: number
  readonly seconds: number
}

const TURN_BYTES = 512 * 1024
const WAITING_BYTES_MAX = 1024 * 1024

interface State {
  prepared: { readonly task: Task; readonly done: PromiseWithResolvers<Received | Sent> } | undefined
}

const state: State = { prepared: undefined }

const calls = {
  /** Listens for all tasks to come, and returns the address. */
  open(options: EndOptions): Promise<string> {
    return listen(options, (end) => {
      if (state.prepared === undefined) throw new TypeError('prepare comes first')
      const { task, done } = state.prepared
      perform(end, task).then(done.resolve, done.reject)
    })
  },

  /** What the next connection is for. */
  prepare(task: Task): void {
    state.prepared = { task, done: Promise.withResolvers() }
  },

  /** What came of it. */
  async done(): Promise<Received | Sent> {
    if (state.prepared === undefined) throw new TypeError('prepare comes first')
    return state.prepared.done.promise
  },

  /** Connects, and does its part. */
  async run({
    address,
    task,
    ...options
  }: EndOptions & { readonly address: string; readonly task: Task }): Promise<Received | Sent> {
    return perform(await dial(options, address), task)
  },

  close(): void {},
} as const

export type StreamCalls = typeof calls

function perform(end: End, task: Task): Promise<Received | Sent> {
  return task.role === 'receive' ? receive(end) : send(end, task)
}

/** Resolves when the sender has ended. */
async function receive(end: End): Promise<Received> {
  const ended = Promise.withResolvers<number>()
  const over = (): void => ended.resolve(performance.now())
  let bytes = 0
  let messages = 0
  let firstMs = 0
  const cpuBefore = cpuSeconds()
  const count = (data: Uint8Array): void => {
    if (bytes === 0) firstMs = performance.now()
    bytes += data.length
    messages++
  }
  if (end.shape === 'stream') end.socket.on('data', count).on('close', over)
  else if (end.shape === 'webSocket')
    end.socket.on('message', (data) => count(data as Buffer)).on('close', over)
  else end.channel.start({ frame: count, drained: () => {}, closed: over })
  const seconds = ((await ended.promise) - firstMs) / 1000
  return { bytes, seconds, cpuSeconds: cpuSeconds() - cpuBefore, ...(end.shape !== 'stream' && { messages }) }
}

/** Sends for a while, then ends the connection. */
async function send(end: End, { size, seconds }: Task): Promise<Sent> {
  const message = Buffer.alloc(size, 7)
  const perTurn = Math.ceil(TURN_BYTES / size)
  const cpuBefore = cpuSeconds()
  const deadlineMs = performance.now() + seconds * 1000
  const isTime = (): boolean => performance.now() < deadlineMs
  const messages = await sendTo(end, message, perTurn, isTime)
  return { messages, cpuSeconds: cpuSeconds() - cpuBefore }
}

/** How many were sent. A function for each shape, so that none is compiled for the others too. */
function sendTo(end: End, message: Buffer, perTurn: number, isTime: () => boolean): Promise<number> {
  switch (end.shape) {
    case 'stream':
      return sendStream(end.socket, message, perTurn, isTime)
    case 'webSocket':
      return sendWebSocket(end.socket, message, perTurn, isTime)
    case 'channel':
      return sendChannel(end.channel, message, perTurn, isTime)
  }
}

type EndOf<S extends End['shape']> = Extract<End, { shape: S }>

async function sendStream(
  socket: EndOf<'stream'>['socket'],
  message: Buffer,
  perTurn: number,
  isTime: () => boolean,
): Promise<number> {
  const closed = Promise.withResolvers<void>()
  socket.on('close', closed.resolve).resume()
  let messages = 0
  while (isTime()) {
    socket.cork()
    for (let index = 0; index < perTurn; index++) socket.write(message)
    socket.uncork()
    messages += perTurn
    if (socket.writableLength <= WAITING_BYTES_MAX) await turn()
    else await new Promise<void>((resolve) => socket.once('drain', () => resolve()))
  }
  socket.end()
  await closed.promise
  return messages
}

/** As a program writes it: `send` for each message, and no look at what is inside. */
async function sendWebSocket(
  socket: EndOf<'webSocket'>['socket'],
  message: Buffer,
  perTurn: number,
  isTime: () => boolean,
): Promise<number> {
  if (socket.readyState === socket.CONNECTING) await once(socket, 'open')
  const closed = Promise.withResolvers<void>()
  socket.on('close', () => closed.resolve())
  let messages = 0
  while (isTime()) {
    for (let index = 1; index < perTurn; index++) socket.send(message)
    const out = new Promise<void>((resolve) => socket.send(message, () => resolve()))
    messages += perTurn
    await (socket.bufferedAmount <= WAITING_BYTES_MAX ? turn() : out)
  }
  socket.close()
  await closed.promise
  return messages
}

async function sendChannel(
  channel: EndOf<'channel'>['channel'],
  message: Buffer,
  perTurn: number,
  isTime: () => boolean,
): Promise<number> {
  const closed = Promise.withResolvers<void>()
  let wake = (): void => {}
  channel.start({ frame: () => {}, drained: () => wake(), closed: () => closed.resolve() })
  const parts = [message]
  let messages = 0
  while (isTime()) {
    let more = true
    for (let index = 0; index < perTurn; index++) more = channel.send(parts)
    messages += perTurn
    if (more) await turn()
    else await new Promise<void>((resolve) => (wake = resolve))
  }
  // A channel that closes gives its last bytes a second, which a busy machine may need for other things.
  while (channel.bufferedBytes > 0) await turn()
  channel.close()
  await closed.promise
  return messages
}

serve(calls)
