import dns from 'node:dns'
import { once } from 'node:events'
import { connect as connectSocket, createServer, type AddressInfo } from 'node:net'
import { describe, expect, test, vi } from 'vitest'
import { systemClock } from '@understudy/contracts'
import { tcp } from '../src/index.ts'
import { deadAddress, pattern, Recorded } from './peers.ts'

const ignore = (): void => {}

describe('addresses', () => {
  test.each([
    ['', 'no URL'],
    ['127.0.0.1:7401', 'no URL'],
    ['ws://127.0.0.1:7401', 'serves tcp:// and tls:// and unix:// only'],
    ['tcp://127.0.0.1', 'no port'],
    ['tcp://:7401', 'no'],
    ['tcp://127.0.0.1:99999', 'no URL'],
    ['tcp://user@127.0.0.1:7401', 'more than'],
    ['tcp://127.0.0.1:7401/path', 'more than'],
    ['tcp://127.0.0.1:7401?tls=1', 'more than'],
  ])('%j is ADDRESS_INVALID for both directions', async (address, reason) => {
    const expected = { code: 'ADDRESS_INVALID', message: expect.stringContaining(reason) as string }
    await expect(tcp().connect(address)).rejects.toMatchObject(expected)
    await expect(tcp().listen(address, ignore)).rejects.toMatchObject(expected)
  })

  test('port 0 cannot be dialled', async () => {
    await expect(tcp().connect('tcp://127.0.0.1:0')).rejects.toMatchObject({ code: 'ADDRESS_INVALID' })
  })

  test.each(['tcp://127.0.0.1:0', 'tcp://127.8.9.1:0', 'tcp://localhost:0', 'tcp://[::1]:0'])(
    'listening on %s gives an address to dial',
    async (address) => {
      const accepted = Promise.withResolvers<Recorded>()
      await using listener = await tcp().listen(address, (channel) => accepted.resolve(new Recorded(channel)))
      expect(listener.address.startsWith(address.slice(0, -1))).toBe(true)
      expect(Number(new URL(listener.address).port)).toBeGreaterThan(0)
      const dialler = new Recorded(await tcp().connect(listener.address))
      dialler.channel.send([pattern(5)])
      const acceptor = await accepted.promise
      await acceptor.framesArrived(1)
      expect(acceptor.channel.remote).toMatch(/^tcp:\/\/(127\.\d+\.\d+\.\d+|\[::1\]):\d+$/)
      dialler.channel.close()
      await dialler.closed()
    },
  )

  test.each([
    'tcp://0.0.0.0:0',
    'tcp://[::]:0',
    'tcp://192.0.2.1:0',
    'tcp://node-a.example:0',
    'tcp://127.1:0',
  ])('listening on %s needs an explicit decision', async (address) => {
    await expect(tcp().listen(address, ignore)).rejects.toMatchObject({ code: 'INSECURE_ADDRESS' })
  })

  test('localhost that means something else is found out when it is bound', async () => {
    const lookup = vi
      .spyOn(dns, 'lookup')
      .mockImplementation(((
        _name: string,
        _options: unknown,
        callback: (error: null, addresses: dns.LookupAddress[]) => void,
      ) => callback(null, [{ address: '0.0.0.0', family: 4 }])) as unknown as typeof dns.lookup)
    try {
      await expect(tcp().listen('tcp://localhost:0', ignore)).rejects.toMatchObject({
        code: 'INSECURE_ADDRESS',
        details: { address: expect.stringMatching(/^tcp:\/\/0\.0\.0\.0:\d+$/) as string },
      })
      expect(lookup).toHaveBeenCalled()
    } finally {
      lookup.mockRestore()
    }
  })

  test('that decision can be made', async () => {
    await using listener = await tcp({ insecure: true }).listen('tcp://0.0.0.0:0', ignore)
    expect(listener.address).toMatch(/^tcp:\/\/0\.0\.0\.0:\d+$/)
  })
})

describe('connecting', () => {
  test('to a port that nobody listens on is CONNECT_FAILED with the system code', async () => {
    const address = await deadAddress()
    await expect(tcp().connect(address)).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
      details: { systemCode: 'ECONNREFUSED', address },
    })
  })

  test('to a name that does not resolve is CONNECT_FAILED', async () => {
    // Longer than a label of a name may be, so that nobody is asked for it.
    await expect(tcp().connect(`tcp://${'a'.repeat(64)}:7401`)).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
    })
  })

  test('can be aborted before and meanwhile', async () => {
    const address = await deadAddress()
    await expect(tcp().connect(address, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ABORTED',
    })
    const controller = new AbortController()
    const connecting = tcp().connect(address, { signal: controller.signal })
    controller.abort(new Error('test'))
    await expect(connecting).rejects.toMatchObject({ code: 'ABORTED', cause: new Error('test') })
  })

  test('is given up at its deadline', async () => {
    const clock = {
      ...systemClock(),
      schedule(delayMs: number, run: () => void) {
        expect(delayMs).toBe(70)
        queueMicrotask(run)
        return { cancel: () => {} }
      },
    }
    const address = await deadAddress()
    await expect(tcp({ clock }).connect(address, { timeoutMs: 70 })).rejects.toMatchObject({
      code: 'TIMEOUT',
      details: { timeoutMs: 70 },
    })
  })

  test('keeps what the peer sent before start', async () => {
    const server = createServer((socket) => socket.end(Buffer.from([2, 0, 0, 0, 7, 8]))).listen(
      0,
      '127.0.0.1',
    )
    await once(server, 'listening')
    const channel = await tcp().connect(`tcp://127.0.0.1:${(server.address() as AddressInfo).port}`)
    server.close()
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
    const recorded = new Recorded(channel)
    await recorded.closed()
    expect(recorded.frames).toEqual([Uint8Array.of(7, 8)])
    expect(recorded.error).toBeUndefined()
  })
})

describe('listening', () => {
  test('on a port in use is LISTEN_FAILED and says what to do', async () => {
    await using listener = await tcp().listen('tcp://127.0.0.1:0', ignore)
    await expect(tcp().listen(listener.address, ignore)).rejects.toMatchObject({
      code: 'LISTEN_FAILED',
      details: { systemCode: 'EADDRINUSE' },
      message: expect.stringContaining('choose another one') as string,
    })
  })

  test('on an address of another machine is LISTEN_FAILED', async () => {
    await expect(tcp({ insecure: true }).listen('tcp://192.0.2.1:0', ignore)).rejects.toMatchObject({
      code: 'LISTEN_FAILED',
      details: { systemCode: 'EADDRNOTAVAIL' },
    })
  })

  test('closes one channel too many, and takes the next when one has gone', async () => {
    const accepted: Recorded[] = []
    await using listener = await tcp().listen(
      'tcp://127.0.0.1:0',
      (channel) => accepted.push(new Recorded(channel)),
      { channelsMax: 2 },
    )
    const first = new Recorded(await tcp().connect(listener.address))
    const second = new Recorded(await tcp().connect(listener.address))
    const third = new Recorded(await tcp().connect(listener.address))
    await third.closed()
    expect(accepted.length).toBe(2)
    first.channel.close()
    await accepted[0]?.closed()
    const fourth = new Recorded(await tcp().connect(listener.address))
    fourth.channel.send([pattern(3)])
    while (accepted.length < 3) await new Promise((resolve) => setImmediate(resolve))
    await accepted[2]?.framesArrived(1)
    for (const dialler of [second, fourth]) {
      dialler.channel.close()
      await dialler.closed()
    }
  })

  test('close ends every accepted channel and frees the port', async () => {
    const accepted: Recorded[] = []
    const listener = await tcp().listen('tcp://127.0.0.1:0', (channel) =>
      accepted.push(new Recorded(channel)),
    )
    const diallers: Recorded[] = []
    for (let i = 0; i < 3; i++) diallers.push(new Recorded(await tcp().connect(listener.address)))
    while (accepted.length < 3) await new Promise((resolve) => setImmediate(resolve))
    await Promise.all([listener.close(), listener.close()])
    expect(accepted.map((channel) => channel.closes)).toEqual([1, 1, 1])
    for (const dialler of diallers) {
      await dialler.closed()
      expect(dialler.error).toBeUndefined()
    }
    await using again = await tcp().listen(listener.address, ignore)
    expect(again.address).toBe(listener.address)
  })

  test('a bare socket that connects and leaves disturbs nobody', async () => {
    const accepted: Recorded[] = []
    await using listener = await tcp().listen('tcp://127.0.0.1:0', (channel) =>
      accepted.push(new Recorded(channel)),
    )
    const socket = connectSocket(Number(new URL(listener.address).port), '127.0.0.1')
    socket.on('error', ignore)
    await once(socket, 'connect')
    socket.resetAndDestroy()
    while (accepted.length < 1) await new Promise((resolve) => setImmediate(resolve))
    await accepted[0]?.closed()
    const dialler = new Recorded(await tcp().connect(listener.address))
    dialler.channel.close()
    await dialler.closed()
    expect(dialler.error).toBeUndefined()
  })
})

test('marks that make no sense are refused', () => {
  expect(() => tcp({ lowBytes: 10, highBytes: 5 })).toThrow(
    expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
  )
})
