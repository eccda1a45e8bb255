import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { expect, test } from 'vitest'
import { Pending } from '../src/index.ts'
import { HandClock } from './hand-clock.ts'

class FakeSocket extends EventEmitter {
  readonly localAddress = '127.0.0.1'
  readonly localPort = 7401
  readonly remoteAddress = '127.0.0.1'
  readonly remotePort: number
  isDestroyed = false

  constructor(port: number) {
    super()
    this.remotePort = port
  }

  /** As a real one does, it says that it closed. */
  destroy(): void {
    if (this.isDestroyed) return
    this.isDestroyed = true
    this.emit('close')
  }
}

function pending(): {
  clock: HandClock
  told: string[]
  open: Pending<string>
  add: (port: number, about: string) => FakeSocket
} {
  const clock = new HandClock()
  const told: string[] = []
  const open = new Pending<string>({
    clock,
    timeoutMs: 100,
    late: (about) => told.push(`late ${about}`),
    ended: (about) => told.push(`ended ${about}`),
  })
  const add = (port: number, about: string): FakeSocket => {
    const socket = new FakeSocket(port)
    open.add(socket as unknown as Socket, about)
    return socket
  }
  return { clock, told, open, add }
}

test('one that is not done in time is told of once, and ended', () => {
  const { clock, told, open, add } = pending()
  const socket = add(1, 'one')
  clock.advance(99)
  expect(told).toEqual([])
  clock.advance(1)
  expect([told, socket.isDestroyed, clock.pending]).toEqual([['late one'], true, 0])
  expect(open.take(socket)).toBeUndefined()
})

test('one that is done has no deadline, by whichever socket it is named', () => {
  const { clock, told, open, add } = pending()
  const socket = add(1, 'one')
  expect(open.take(new FakeSocket(1))?.about).toBe('one')
  expect(open.take(socket)).toBeUndefined()
  clock.advance(1000)
  socket.destroy()
  expect([told, clock.pending]).toEqual([[], 0])
})

test('one that ends by itself is told of once; a connection that has its ends by then is left alone', () => {
  const { clock, told, open, add } = pending()
  const first = add(1, 'first')
  open.take(first)
  const second = add(1, 'second')
  first.destroy()
  expect(told).toEqual([])
  second.destroy()
  expect([told, clock.pending]).toEqual([['ended second'], 0])
})

test('all that wait are broken off without a word', () => {
  const { clock, told, open, add } = pending()
  const sockets = [add(1, 'one'), add(2, 'two')]
  open.close()
  expect(sockets.every(({ isDestroyed }) => isDestroyed)).toBe(true)
  expect([told, clock.pending]).toEqual([[], 0])
})
