import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, Socket, type AddressInfo, type LookupFunction } from 'node:net'
import { Worker } from 'node:worker_threads'
import { expect, test, vi } from 'vitest'
import { certificateTexts, pem } from '@understudy/testkit/certificates'
import { tcp } from '../src/index.ts'
import { listening, pair, Recorded } from './peers.ts'

const NAME = 'node-a.example'

/** Resolves every name to these addresses, in this order. */
function resolvingTo(...addresses: string[]): LookupFunction {
  return (_name, options, callback) => {
    const all = addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }))
    if (options.all === true) callback(null, all)
    else callback(null, all[0]!.address, all[0]!.family)
  }
}

test('a name whose IPv6 address refuses is reached over IPv4', async () => {
  await using both = await listening({}, 'tcp://127.0.0.1:0')
  const lookup = resolvingTo('::1', '127.0.0.1')
  const channel = new Recorded(await tcp({ lookup }).connect(`tcp://${NAME}:${both.port}`))
  expect(channel.channel.remote).toBe(both.listener.address)
  channel.channel.close()
  await channel.closed()
})

test('and over TLS, where the name is still what the certificate must have', async () => {
  await using both = await listening({ tls: certificateTexts('server') })
  const lookup = resolvingTo('::1', '127.0.0.1')
  await expect(
    tcp({ lookup, tls: { ca: pem('ca') } }).connect(`tls://${NAME}:${both.port}`),
  ).rejects.toMatchObject({ code: 'TLS_FAILED', details: { tlsCode: 'ERR_TLS_CERT_ALTNAME_INVALID' } })
  const tls = { ca: pem('ca'), serverName: 'localhost' }
  const channel = new Recorded(await tcp({ lookup, tls }).connect(`tls://${NAME}:${both.port}`))
  expect(channel.channel.security?.identities).toContain('CN:leader')
  channel.channel.close()
  await channel.closed()
})

test('a name whose IPv6 address never answers is reached over IPv4', async () => {
  await using both = await listening({}, 'tcp://127.0.0.1:0')
  // A listener that accepts nobody: when its queue is full, the operating system answers nobody any more.
  const worker = new Worker(
    `const { createServer } = require('node:net')
     const { parentPort, workerData } = require('node:worker_threads')
     createServer().listen({ host: '::1', port: workerData, backlog: 1 }, () => {
       parentPort.postMessage('listens')
       Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
     })`,
    { eval: true, workerData: both.port },
  )
  await once(worker, 'message')
  const fillers = Array.from({ length: 8 }, () => new Socket().on('error', () => {}))
  for (const socket of fillers) socket.connect(both.port, '::1')
  await once(fillers[0]!, 'connect')
  const lookup = resolvingTo('::1', '127.0.0.1')
  const channel = new Recorded(await tcp({ lookup, attemptMs: 20 }).connect(`tcp://${NAME}:${both.port}`))
  expect(channel.channel.remote).toBe(both.listener.address)
  channel.channel.close()
  await channel.closed()
  expect(fillers.some((socket) => socket.connecting)).toBe(true)
  for (const socket of fillers) socket.destroy()
  await worker.terminate()
})

test('of a name where nobody is there, every address was tried', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  await expect(
    tcp({ lookup: resolvingTo('::1', '127.0.0.1') }).connect(`tcp://${NAME}:${port}`),
  ).rejects.toMatchObject({ code: 'CONNECT_FAILED', details: { systemCode: 'ECONNREFUSED' } })
})

test.each([
  ['tcp', 'tcp://127.0.0.1:0'],
  ['tls', 'tls://127.0.0.1:0'],
])(
  '%s: the operating system asks after a silent peer on both ends, and delays no small frame',
  async (_, address) => {
    const noDelay = vi.spyOn(Socket.prototype, 'setNoDelay')
    const tls = certificateTexts('server')
    await using both = await pair({ tls, keepAliveMs: 77_000 }, {}, address)
    expect(noDelay).toHaveBeenCalledWith(true)
    noDelay.mockRestore()
    const listener = Number(new URL(both.listener.address).port)
    const dialler = Number(new URL(both.acceptor.channel.remote).port)
    const directions = [
      [listener, dialler],
      [dialler, listener],
    ] as const
    for (const [local, remote] of directions) {
      // While the last bytes are not acknowledged it has another timer.
      while (keepAliveOf(local, remote) === undefined) await new Promise((resolve) => setImmediate(resolve))
      expect(keepAliveOf(local, remote)).toBeGreaterThan(60)
    }
  },
)

/** Seconds until the operating system asks, of the connection from one port of 127.0.0.1 to the other. */
function keepAliveOf(local: number, remote: number): number | undefined {
  const port = (number: number): string => number.toString(16).toUpperCase().padStart(4, '0')
  const line = readFileSync('/proc/self/net/tcp', 'utf8')
    .split('\n')
    .find((each) => each.includes(`0100007F:${port(local)} 0100007F:${port(remote)}`))
  const [, timer, ticks] = / (0[0-9]):([0-9A-F]{8}) /.exec(line ?? '') ?? []
  // 02: a timer of keep-alive, in hundredths of a second.
  return timer === '02' ? Number.parseInt(ticks ?? '', 16) / 100 : undefined
}
