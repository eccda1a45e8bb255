/**
 * Frames over plain sockets, as short as can be: what a user's first transport may look like, with faults to choose. Only for
 * the tests of the suite that reach below the frames.
 */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { UnderstudyError, type Channel, type ChannelHandler, type Transport } from '@understudy/contracts'
import type { RawAccess } from '../../src/suites/transport.ts'

export interface StreamFaults {
  readonly forgetsPartOfLength?: boolean
  readonly deliversPieces?: boolean
  readonly believesLengths?: boolean
  readonly takesMemoryFirst?: boolean
  readonly staysHalfOpen?: boolean
  readonly forgetsWhatWaits?: boolean
  readonly admitsAll?: boolean
  readonly endsQuietly?: boolean
  readonly resetsQuietly?: boolean
}

const HEAD_BYTES = 4

export function streamTransport(faults: StreamFaults = {}): Transport {
  return {
    schemes: ['stream'],
    async connect(address, { frameBytesMax = 16 * 1024 * 1024 } = {}) {
      const socket = connect({ port: Number(new URL(address).port), host: '127.0.0.1', allowHalfOpen: true })
      await once(socket, 'connect').catch((cause: unknown) => {
        throw new UnderstudyError('CONNECT_FAILED', 'Nobody is there.', { cause })
      })
      return new StreamChannel(socket, frameBytesMax, faults)
    },
    async listen(_address, accept, { frameBytesMax = 4096, channelsPerAddressMax = 256 } = {}) {
      const channels = new Set<StreamChannel>()
      const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
        // All of them come from this machine.
        if (channels.size >= channelsPerAddressMax && faults.admitsAll !== true) {
          socket.destroy()
          return
        }
        const channel = new StreamChannel(socket, frameBytesMax, faults)
        channels.add(channel)
        socket.once('close', () => channels.delete(channel))
        accept(channel)
      }).listen(0, '127.0.0.1')
      await once(server, 'listening')
      const closed = once(server, 'close')
      const close = async (): Promise<void> => {
        if (server.listening) server.close()
        for (const channel of channels) channel.close()
        await closed
      }
      return {
        address: `stream://127.0.0.1:${(server.address() as AddressInfo).port}`,
        close,
        [Symbol.asyncDispose]: close,
      }
    },
  }
}

/** Below the frames of `streamTransport`. */
export function rawStream(): RawAccess {
  const header = (length: number): Uint8Array => {
    const head = Buffer.alloc(HEAD_BYTES)
    head.writeUInt32BE(length)
    return head
  }
  return {
    header,
    encode: (frame) => Buffer.concat([header(frame.byteLength), frame]),
    async connect(address) {
      const socket = connect({ port: Number(new URL(address).port), host: '127.0.0.1', noDelay: true })
      socket.on('error', () => undefined).resume()
      await once(socket, 'connect')
      return {
        write: (bytes) => new Promise((resolve) => void socket.write(bytes, () => resolve())),
        end: () => socket.end(),
        destroy: () => socket.resetAndDestroy(),
      }
    },
  }
}

class StreamChannel implements Channel {
  frameBytesMax: number
  readonly remote = 'a socket'
  readonly #socket: Socket
  readonly #faults: StreamFaults
  #handler: ChannelHandler | undefined
  #rest: Uint8Array = new Uint8Array(0)
  announced: Uint8Array | undefined
  #error: UnderstudyError | undefined
  #closing = false
  #paused = false
  #gone = false

  constructor(socket: Socket, frameBytesMax: number, faults: StreamFaults) {
    this.#socket = socket
    this.#faults = faults
    this.frameBytesMax = frameBytesMax
    socket.on('error', (cause) => this.#lost(faults.resetsQuietly === true ? undefined : cause.message))
    socket.on('close', () => this.#ended())
    socket.on('end', () => {
      if (faults.staysHalfOpen === true) return
      // Bytes that wait behind a pause are whole frames, or end within one when all were delivered.
      if (!this.#paused && this.#rest.byteLength > 0 && faults.endsQuietly !== true)
        this.#lost('half a frame')
      socket.end()
    })
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength
  }

  start(handler: ChannelHandler): void {
    this.#handler = handler
    this.#socket.on('drain', () => this.#closing || handler.drained())
    this.#socket.on('data', (bytes: Uint8Array) => {
      this.#rest = this.#rest.byteLength === 0 ? bytes : Buffer.concat([this.#rest, bytes])
      this.#deliver()
    })
    this.#socket.resume()
  }

  send(parts: readonly Uint8Array[]): boolean {
    if (this.#closing || !this.#socket.writable) return false
    const head = Buffer.alloc(HEAD_BYTES)
    head.writeUInt32BE(parts.reduce((sum, part) => sum + part.byteLength, 0))
    return this.#socket.write(Buffer.concat([head, ...parts]))
  }

  pause(): void {
    this.#paused = true
    if (this.#faults.forgetsWhatWaits !== true) this.#socket.pause()
  }

  resume(): void {
    this.#paused = false
    setImmediate(() => this.#deliver())
    this.#socket.resume()
  }

  close(error?: UnderstudyError): void {
    if (this.#closing) return
    this.#closing = true
    this.#error ??= error
    this.#socket.end()
    this.#socket.resume()
  }

  #deliver(): void {
    while (!this.#closing && !this.#paused && this.#rest.byteLength >= HEAD_BYTES) {
      const length = Buffer.from(this.#rest.buffer, this.#rest.byteOffset).readUInt32BE()
      if (this.#faults.takesMemoryFirst === true) this.announced ??= new Uint8Array(length)
      if (length > this.frameBytesMax) {
        this.close(new UnderstudyError('FRAME_TOO_LARGE', 'A frame is too long.'))
        return
      }
      const end = HEAD_BYTES + length
      if (this.#rest.byteLength < end && this.#faults.deliversPieces !== true) {
        if (this.#faults.believesLengths === true) this.announced ??= new Uint8Array(length)
        return
      }
      const frame = new Uint8Array(this.#rest.subarray(HEAD_BYTES, end))
      this.#rest = this.#rest.subarray(end)
      this.#handler?.frame(frame)
    }
    if (this.#faults.forgetsPartOfLength === true && this.#rest.byteLength < HEAD_BYTES)
      this.#rest = new Uint8Array(0)
    if (this.#gone) this.#ended()
  }

  #lost(reason: string | undefined): void {
    if (reason !== undefined) this.#error ??= new UnderstudyError('CONNECTION_LOST', reason)
  }

  #ended(): void {
    this.#gone = true
    const waits = this.#paused && this.#rest.byteLength > 0 && !this.#closing
    if (waits && this.#faults.forgetsWhatWaits !== true) return
    this.#closing = true
    const handler = this.#handler
    this.#handler = undefined
    setImmediate(() => handler?.closed(this.#error))
  }
}
