/**
 * Measures messages through this transport against a bare `ws` socket, sender and receiver in processes of their own.
 *
 *     node --conditions=@understudy/source test/throughput.ts [--seconds 1] [--rounds 3]
 *
 * `bare` is what a program that uses `ws` would write: `socket.send(buffer)` for each message, with permessage-deflate
 * off as it is by default for a server; its receiver only counts bytes. A follower dials and receives, so `dialled` is
 * the direction of replication, and `bare` of a server that sends. `accepted` and `bare masked` are the other direction,
 * in which WebSocket has every byte masked by the sender and unmasked by the receiver. Rounds of all alternate, and the
 * median counts.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { parseArgs } from 'node:util'
import { WebSocket, WebSocketServer } from 'ws'
import type { Channel } from '@understudy/contracts'
import { webSocket } from '../src/index.ts'

const KINDS = ['bare', 'dialled', 'bare masked', 'accepted'] as const
type Kind = (typeof KINDS)[number]

const TURN_BYTES = 512 * 1024
/** Where a sender waits for what it sent to be out, as the transport does. */
const HIGH_BYTES = 1024 * 1024
const SIZES = [100, 1024, 65_536]

/** The receiver dials unless the direction is the masked one. */
function receiverListens(kind: Kind): boolean {
  return kind === 'accepted' || kind === 'bare masked'
}

async function run(role: string, kind: Kind, address: string, size: number, seconds: number): Promise<void> {
  const listens = (role === 'receive') === receiverListens(kind)
  const work = role === 'receive' ? receive : (end: WebSocket | Channel) => send(end, size, seconds)
  if (kind.startsWith('bare')) {
    if (!listens) {
      const socket = new WebSocket(address, { perMessageDeflate: false })
      await once(socket, 'open')
      await work(socket)
      return
    }
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    server.on('connection', (socket) => void work(socket).then(() => server.close()))
    await once(server, 'listening')
    process.send?.(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`)
  } else if (listens) {
    const listener = await webSocket().listen(
      'ws://127.0.0.1:0',
      (channel) => void work(channel).then(() => listener.close()),
      { frameBytesMax: 1024 * 1024 },
    )
    process.send?.(listener.address)
  } else await work(await webSocket().connect(address))
}

/** Counts until the peer ends, and tells. */
async function receive(end: WebSocket | Channel): Promise<void> {
  let bytes = 0
  const count = (data: Uint8Array): void => {
    bytes += data.length
  }
  const ended = Promise.withResolvers<void>()
  if ('terminate' in end)
    end.on('message', (data) => count(data as Buffer)).on('close', () => ended.resolve())
  else end.start({ frame: count, drained: () => {}, closed: () => ended.resolve() })
  await ended.promise
  process.send?.(bytes)
  process.disconnect()
}

/** Sends for a while, then ends. */
async function send(end: WebSocket | Channel, size: number, seconds: number): Promise<void> {
  const message = Buffer.alloc(size, 7)
  const perTurn = Math.ceil(TURN_BYTES / size)
  const deadline = performance.now() + seconds * 1000
  let wake = (): void => {}
  const ended = Promise.withResolvers<void>()
  if ('terminate' in end) end.on('close', () => ended.resolve())
  else end.start({ frame: () => {}, drained: () => wake(), closed: () => ended.resolve() })
  while (performance.now() < deadline) {
    let more = true
    let out: Promise<void> | undefined
    if ('terminate' in end) {
      for (let i = 0; i < perTurn - 1; i++) end.send(message)
      out = new Promise((resolve) => end.send(message, () => resolve()))
      more = end.bufferedAmount <= HIGH_BYTES
    } else for (let i = 0; i < perTurn; i++) more = end.send([message])
    if (more) await new Promise((resolve) => setImmediate(resolve))
    else if (out === undefined) await new Promise<void>((resolve) => (wake = resolve))
    else await out
  }
  end.close()
  await ended.promise
  process.disconnect()
}

function child(...args: string[]): ChildProcess {
  return fork(import.meta.filename, args, { execArgv: ['--conditions=@understudy/source'] })
}

/** Bytes of messages per second. */
async function measure(kind: Kind, size: number, seconds: number): Promise<number> {
  const roles = receiverListens(kind) ? ['receive', 'send'] : ['send', 'receive']
  const listening = child(roles[0] ?? '', kind, '-', String(size), String(seconds))
  const [address] = (await once(listening, 'message')) as [string]
  const dialling = child(roles[1] ?? '', kind, address, String(size), String(seconds))
  const ends = [listening, dialling]
  const gone = ends.map((end) => once(end, 'exit'))
  const [bytes] = (await once(receiverListens(kind) ? listening : dialling, 'message')) as [number]
  await Promise.all(gone)
  return bytes / seconds
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

async function compare(seconds: number, rounds: number): Promise<void> {
  for (const size of SIZES) {
    const rates = new Map<Kind, number[]>(KINDS.map((kind) => [kind, []]))
    for (let round = 0; round < rounds; round++)
      for (const kind of KINDS) rates.get(kind)?.push(await measure(kind, size, seconds))
    const rateOf = (kind: Kind): number => median(rates.get(kind) ?? [])
    const cells = KINDS.map((kind) => {
      const rate = rateOf(kind)
      const bare = rateOf(receiverListens(kind) ? 'bare masked' : 'bare')
      return `${kind} ${Math.round(rate / size / 1000)}k/s ${(rate / 1e6).toFixed(0)} MB/s (${(rate / bare).toFixed(2)})`
    })
    process.stdout.write(`${String(size).padStart(6)} bytes: ${cells.join(', ')}\n`)
  }
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '1' }, rounds: { type: 'string', default: '3' } },
})
const [role, kind, address, size, duration] = positionals
if (role === undefined) await compare(Number(values.seconds), Number(values.rounds))
else await run(role, kind as Kind, address ?? '', Number(size), Number(duration))
