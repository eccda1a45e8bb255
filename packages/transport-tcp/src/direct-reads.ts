/**
 * Reads of a socket that go into memory of a frame reader, so that large frames are not copied.
 *
 * Decides: how a socket is told to. Leaves to others: which memory (frame-reader), and what becomes of frames (channel).
 *
 * A dialled socket takes the documented option `onread` of `net.Socket` for it; a listener has no place to give it. What
 * that option does to a socket (lib/net.js, `initSocketHandle`) is done here afterwards: three fields, named by symbols,
 * and one call of the handle. None of it is documented. Where any part is missing the answer is false and nothing was
 * changed; the caller reads in the ordinary way then, which costs a copy of large frames and nothing else.
 */
import type { Socket } from 'node:net'
import { FrameReader } from './frame-reader.ts'

/** As `onread` of `net.Socket`. */
export interface OnRead {
  /** Memory for the next read. */
  readonly buffer: () => Uint8Array
  /** So many bytes of it were filled. */
  readonly callback: (count: number) => boolean
}

/** What takes the frames when bytes came. */
interface Receiver {
  received(): void
}

export class DirectReads {
  readonly reader: FrameReader = new FrameReader()
  readonly onread: OnRead
  #receiver: Receiver | undefined

  constructor() {
    const { reader } = this
    this.onread = {
      buffer: () => reader.memory(),
      callback: (count) => {
        reader.filled(count)
        this.#receiver?.received()
        return true
      },
    }
  }

  /** The socket is paused until then. */
  deliverTo(receiver: Receiver): void {
    this.#receiver = receiver
  }
}

interface Handle {
  useUserBuffer(memory: Uint8Array): void
}

/** Before the socket reads for the first time. */
export function readInto(socket: Socket, onread: OnRead): boolean {
  const fields = new Map(Object.getOwnPropertySymbols(socket).map((symbol) => [symbol.description, symbol]))
  const buffer = fields.get('kBuffer')
  const generator = fields.get('kBufferGen')
  const callback = fields.get('kBufferCb')
  const handle: unknown = Reflect.get(socket, '_handle')
  if (buffer === undefined || generator === undefined || callback === undefined || !isHandle(handle))
    return false
  const memory = onread.buffer()
  Reflect.set(socket, buffer, memory)
  Reflect.set(socket, generator, onread.buffer)
  Reflect.set(socket, callback, onread.callback)
  handle.useUserBuffer(memory)
  return true
}

function isHandle(handle: unknown): handle is Handle {
  return (
    typeof handle === 'object' &&
    handle !== null &&
    typeof Reflect.get(handle, 'useUserBuffer') === 'function'
  )
}
