/**
 * Measures messages through this transport against a bare socket of `net` and of `tls`, sender and receiver in processes
 * of their own.
 *
 *     node --conditions=@understudy/source test/throughput.ts [--seconds 1] [--rounds 3]
 *
 * `bare` writes each message with `socket.write`, corked for each turn, and its receiver only counts bytes: what the
 * transport could reach if frames cost nothing. `tcp() dialled` is the direction of a follower, which dials and
 * receives; `accepted` is the other one. The same three over TLS 1.3. Rounds of all alternate, and the median counts. In
 * brackets: the rate against the bare one, and the same by the processor time of the busier end, which other work on the
 * machine changes less.
 */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { connect as connectSocket, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'
import { parseArgs } from 'node:util'
import type { Channel } from '@understudy/contracts'
import { certificateTexts } from '@understudy/testkit/certificates'
import { tcp } from '../src/index.ts'

const KINDS = ['bare', 'dialled', 'accepted', 'tls-bare', 'tls-dialled', 'tls-accepted'] as const
type Kind = (typeof KINDS)[number]

const TLS = certificateTexts('server')

const TURN_BYTES = 512 * 1024
const SIZES = [100, 1024, 65_536]

/** One end as a child process: `accepted` receives where it listens, the others where they dial. */
async function run(role: string, kind: Kind, address: string, size: number, seconds: number): Promise<void> {
  const listens = (role === 'receive') === kind.endsWith('accepted')
  const work = role === 'receive' ? receive : (end: Socket | Channel) => send(end, size, seconds)
  const scheme = kind.startsWith('tls-') ? 'tls' : 'tcp'
  if (kind.endsWith('bare')) {
    if (listens) await listenBare(scheme, work)
    else await work(await dialBare(scheme, Number(new URL(address).port)))
    return
  }
  const transport = tcp({ tls: TLS })
  if (listens) {
    const listener = await transport.listen(
      `${scheme}://127.0.0.1:0`,
      (channel) => void work(channel).then(() => listener.close()),
      { frameBytesMax: 1024 * 1024 },
    )
    process.send?.(listener.address)
  } else await work(await transport.connect(address))
}

async function listenBare(scheme: string, work: (socket: Socket) => Promise<void>): Promise<void> {
  const accept = (socket: Socket): void => void work(socket).then(() => server.close())
  const server: Server =
    scheme === 'tls'
      ? createTlsServer({ ...TLS, noDelay: true }, accept)
      : createServer({ noDelay: true }, accept)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  process.send?.(`${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}`)
}

async function dialBare(scheme: string, port: number): Promise<Socket> {
  const where = { host: '127.0.0.1', port }
  if (scheme === 'tcp') return connectSocket(where).setNoDelay()
  const socket = connectTls({ ...where, ca: TLS.ca }).setNoDelay()
  await once(socket, 'secureConnect')
  return socket
}

/** Counts until the peer ends, and tells. */
async function receive(end: Socket | Channel): Promise<void> {
  let bytes = 0
  const count = (data: Uint8Array): void => {
    bytes += data.length
  }
  const ended = Promise.withResolvers<void>()
  const before = process.cpuUsage()
  if ('cork' in end) end.on('data', count).on('close', ended.resolve)
  else end.start({ frame: count, drained: () => {}, closed: () => ended.resolve() })
  await ended.promise
  report(before, bytes)
}

/** What one end did. */
interface Report {
  readonly bytes: number
  readonly cpuMs: number
}

function report(before: NodeJS.CpuUsage, bytes: number): void {
  const { user, system } = process.cpuUsage(before)
  process.send?.({ bytes, cpuMs: (user + system) / 1000 } satisfies Report)
  process.disconnect()
}

/** Sends for a while, then ends. */
async function send(end: Socket | Channel, size: number, seconds: number): Promise<void> {
  const message = Buffer.alloc(size, 7)
  const perTurn = Math.ceil(TURN_BYTES / size)
  const before = process.cpuUsage()
  const deadline = performance.now() + seconds * 1000
  let wake = (): void => {}
  const ended = Promise.withResolvers<void>()
  if ('cork' in end) end.on('drain', () => wake()).on('close', ended.resolve)
  else end.start({ frame: () => {}, drained: () => wake(), closed: () => ended.resolve() })
  while (performance.now() < deadline) {
    let more = true
    if ('cork' in end) {
      end.cork()
      for (let i = 0; i < perTurn; i++) more = end.write(message)
      end.uncork()
    } else for (let i = 0; i < perTurn; i++) more = end.send([message])
    await new Promise<void>((resolve) => {
      if (more) setImmediate(resolve)
      else wake = resolve
    })
  }
  if ('cork' in end) end.end()
  else end.close()
  await ended.promise
  report(before, 0)
}

function child(...args: string[]): ChildProcess {
  return fork(import.meta.filename, args, { execArgv: ['--conditions=@understudy/source'] })
}

interface Rates {
  /** Bytes of messages in a second. */
  readonly bytes: number
  /** Bytes for a second of processor time of the busier end. */
  readonly cpu: number
}

async function measure(kind: Kind, size: number, seconds: number): Promise<Rates> {
  const roles = kind.endsWith('accepted') ? ['receive', 'send'] : ['send', 'receive']
  const listening = child(roles[0] ?? '', kind, '-', String(size), String(seconds))
  const [address] = (await once(listening, 'message')) as [string]
  const dialling = child(roles[1] ?? '', kind, address, String(size), String(seconds))
  const ends = [listening, dialling]
  const gone = ends.map((end) => once(end, 'exit'))
  const told = await Promise.all(ends.map(async (end) => (await once(end, 'message')) as [Report]))
  await Promise.all(gone)
  const reports = told.map(([each]) => each)
  const bytes = Math.max(...reports.map((each) => each.bytes))
  return { bytes: bytes / seconds, cpu: (bytes * 1000) / Math.max(...reports.map((each) => each.cpuMs)) }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

async function compare(seconds: number, rounds: number): Promise<void> {
  for (const size of SIZES) {
    const rates = new Map<Kind, Rates[]>(KINDS.map((kind) => [kind, []]))
    for (let round = 0; round < rounds; round++)
      for (const kind of KINDS) rates.get(kind)?.push(await measure(kind, size, seconds))
    const middle = (kind: Kind, of: keyof Rates): number =>
      median((rates.get(kind) ?? []).map((each) => each[of]))
    const cells = KINDS.map((kind) => {
      const bare = kind.startsWith('tls-') ? 'tls-bare' : 'bare'
      const rate = middle(kind, 'bytes')
      const ratios = (['bytes', 'cpu'] as const).map((of) => (middle(kind, of) / middle(bare, of)).toFixed(2))
      return `${kind} ${Math.round(rate / size / 1000)}k/s ${(rate / 1e6).toFixed(0)} MB/s (${ratios.join(', ')})`
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
