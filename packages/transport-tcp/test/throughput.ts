/**
 * Measures messages through this transport against a bare `net` socket, sender and receiver in processes of their own.
 *
 *     node --conditions=@understudy/source test/throughput.ts [--seconds 1] [--rounds 3]
 *
 * `bare` writes each message with `socket.write`, corked for each turn, and its receiver only counts bytes: what the
 * transport could reach if frames cost nothing. Rounds of both alternate, and the median counts. Both send as much in
 * one turn as the high mark of the transport allows.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { connect as connectSocket, createServer, type AddressInfo } from 'node:net'
import { parseArgs } from 'node:util'
import { tcp } from '../src/index.ts'

type Kind = 'bare' | 'tcp'

const TURN_BYTES = 512 * 1024
const SIZES = [100, 1024, 65_536]

/** The receiving process: tells its address, then counts until its one peer ends. */
async function receive(kind: Kind): Promise<void> {
  if (kind === 'bare') {
    const server = createServer((socket) => {
      let bytes = 0
      socket.on('data', (chunk) => {
        bytes += chunk.length
      })
      socket.on('end', () => {
        process.send?.({ bytes })
        server.close()
        process.disconnect()
      })
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    process.send?.({ address: `tcp://127.0.0.1:${(server.address() as AddressInfo).port}` })
    return
  }
  let bytes = 0
  const listener = await tcp().listen(
    'tcp://127.0.0.1:0',
    (channel) =>
      channel.start({
        frame: (frame) => {
          bytes += frame.length
        },
        drained: () => {},
        closed: () => {
          process.send?.({ bytes })
          void listener.close().then(() => process.disconnect())
        },
      }),
    { frameBytesMax: 1024 * 1024 },
  )
  process.send?.({ address: listener.address })
}

/** The sending process: sends for a while, then ends. */
async function send(kind: Kind, address: string, size: number, seconds: number): Promise<void> {
  const message = Buffer.alloc(size, 7)
  const perTurn = Math.ceil(TURN_BYTES / size)
  const end = performance.now() + seconds * 1000
  if (kind === 'bare') {
    const socket = connectSocket({ port: Number(new URL(address).port), host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    while (performance.now() < end) {
      let more = true
      socket.cork()
      for (let i = 0; i < perTurn; i++) more = socket.write(message)
      socket.uncork()
      await (more ? new Promise((resolve) => setImmediate(resolve)) : once(socket, 'drain'))
    }
    socket.end()
    await once(socket, 'close')
  } else {
    const channel = await tcp().connect(address)
    let wake = (): void => {}
    const closed = Promise.withResolvers<void>()
    channel.start({ frame: () => {}, drained: () => wake(), closed: () => closed.resolve() })
    while (performance.now() < end) {
      let more = true
      for (let i = 0; i < perTurn; i++) more = channel.send([message])
      await new Promise<void>((resolve) => {
        if (more) setImmediate(resolve)
        else wake = resolve
      })
    }
    channel.close()
    await closed.promise
  }
  process.disconnect()
}

function child(...args: string[]): ChildProcess {
  return fork(import.meta.filename, args, { execArgv: ['--conditions=@understudy/source'] })
}

/** Bytes of messages per second, over the receiver's whole time. */
async function measure(kind: Kind, size: number, seconds: number): Promise<number> {
  const receiver = child('receive', kind)
  const [{ address }] = (await once(receiver, 'message')) as [{ address: string }]
  const sender = child('send', kind, address, String(size), String(seconds))
  const [{ bytes }] = (await once(receiver, 'message')) as [{ bytes: number }]
  await Promise.all([receiver, sender].filter((c) => c.exitCode === null).map((c) => once(c, 'exit')))
  return bytes / seconds
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

async function compare(seconds: number, rounds: number): Promise<void> {
  for (const size of SIZES) {
    const bare: number[] = []
    const framed: number[] = []
    for (let round = 0; round < rounds; round++) {
      bare.push(await measure('bare', size, seconds))
      framed.push(await measure('tcp', size, seconds))
    }
    const [a, b] = [median(bare), median(framed)]
    process.stdout.write(
      `${String(size).padStart(6)} bytes: bare ${Math.round(a / size)}/s ${(a / 1e6).toFixed(0)} MB/s, ` +
        `tcp() ${Math.round(b / size)}/s ${(b / 1e6).toFixed(0)} MB/s, ratio ${(b / a).toFixed(2)}\n`,
    )
  }
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { seconds: { type: 'string', default: '1' }, rounds: { type: 'string', default: '3' } },
})
const [role, kind, address, size, duration] = positionals
if (role === 'receive') await receive(kind as Kind)
else if (role === 'send') await send(kind as Kind, address ?? '', Number(size), Number(duration))
else await compare(Number(values.seconds), Number(values.rounds))
