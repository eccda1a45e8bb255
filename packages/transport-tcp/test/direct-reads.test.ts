import { once } from 'node:events'
import { createServer, connect, type AddressInfo, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { readInto } from '../src/direct-reads.ts'

async function accepted(use: (socket: Socket, other: Socket) => Promise<void>): Promise<void> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const other = connect((server.address() as AddressInfo).port, '127.0.0.1')
  const [socket] = (await once(server, 'connection')) as [Socket]
  try {
    await use(socket, other)
  } finally {
    socket.destroy()
    other.destroy()
    server.close()
    await once(server, 'close')
  }
}

test('an accepted socket of this runtime reads into memory of ours', async () => {
  await accepted(async (socket, other) => {
    const { promise, resolve } = Promise.withResolvers<number>()
    const memory = new Uint8Array(1000)
    const callback = (count: number): boolean => {
      resolve(count)
      return true
    }
    expect(readInto(socket.pause(), { buffer: () => memory, callback })).toBe(true)
    other.write('understudy')
    socket.resume()
    expect(await promise).toBe(10)
    expect(Buffer.from(memory.subarray(0, 10)).toString()).toBe('understudy')
  })
})

test('a socket that cannot is left as it was', async () => {
  await accepted(async (socket, other) => {
    const memory = new Uint8Array(1000)
    const handle: unknown = Reflect.get(socket, '_handle')
    Object.defineProperty(handle, 'useUserBuffer', { value: undefined })
    expect(readInto(socket.pause(), { buffer: () => memory, callback: () => true })).toBe(false)
    other.write('understudy')
    const [chunk] = (await once(socket.resume(), 'data')) as [Buffer]
    expect(chunk.toString()).toBe('understudy')
    expect(memory.every((byte) => byte === 0)).toBe(true)
  })
})
