import { describe, expect, test } from 'vitest'
import { UnderstudyError } from '@understudy/contracts'
import { Connection, encodeMessage, type Ack, type Message } from '../src/index.ts'
import { TestChannel, TestClock } from './channels.ts'

const ack = (received: number): Ack => ({ type: 'ack', epoch: 1, received, durable: 0, applied: 0 })
const refusal = new UnderstudyError('EPOCH_STALE', 'too old')

class Recorder {
  readonly events: string[] = []
  error: UnderstudyError | undefined
  onMessage: (message: Message) => void = () => {}

  message(message: Message): void {
    this.events.push(message.type === 'ack' ? `ack ${message.received}` : message.type)
    this.onMessage(message)
  }

  drained(): void {
    this.events.push('drained')
  }

  closed(error: UnderstudyError | undefined): void {
    this.error = error
    this.events.push(`closed ${error?.code}`)
  }
}

function open(): { channel: TestChannel; clock: TestClock; connection: Connection; recorder: Recorder } {
  const channel = new TestChannel()
  const clock = new TestClock()
  return { channel, clock, connection: new Connection(channel, clock), recorder: new Recorder() }
}

describe('next', () => {
  test('waits for the next message', async () => {
    const { channel, connection } = open()
    const next = connection.next({ timeoutMs: 10 })
    channel.arrive(ack(1))
    expect(await next).toStrictEqual(ack(1))
  })

  test('gives what came before, in order, and loses nothing to the handler that follows', async () => {
    const { channel, connection, recorder } = open()
    channel.arrive(ack(1), ack(2), ack(3))
    expect(await connection.next({ timeoutMs: 10 })).toStrictEqual(ack(1))
    connection.start(recorder)
    channel.arrive(ack(4))
    expect(recorder.events).toEqual(['ack 2', 'ack 3', 'ack 4'])
  })

  test('takes one message when one read brings two', async () => {
    const { channel, connection, recorder } = open()
    const next = connection.next({ timeoutMs: 10 })
    channel.arrive(ack(1), ack(2))
    expect(channel.paused).toBe(true)
    expect(await next).toStrictEqual(ack(1))
    connection.start(recorder)
    expect(recorder.events).toEqual(['ack 2'])
    expect(channel.paused).toBe(false)
  })

  test('is PEER_SILENT at its deadline; the connection lives on', async () => {
    const { channel, clock, connection } = open()
    const next = connection.next({ timeoutMs: 10 })
    clock.advance(10)
    await expect(next).rejects.toMatchObject({ code: 'PEER_SILENT', details: { timeoutMs: 10 } })
    channel.arrive(ack(1))
    expect(await connection.next({ timeoutMs: 10 })).toStrictEqual(ack(1))
    expect(channel.closed).toBeUndefined()
  })

  test('can be aborted, before and meanwhile, and leaves no timer behind', async () => {
    const { clock, connection } = open()
    const controller = new AbortController()
    const next = connection.next({ timeoutMs: 10, signal: controller.signal })
    controller.abort(new Error('test'))
    await expect(next).rejects.toMatchObject({ code: 'ABORTED', cause: new Error('test') })
    await expect(connection.next({ timeoutMs: 10, signal: controller.signal })).rejects.toMatchObject({
      code: 'ABORTED',
    })
    expect(clock.timers.every((timer) => timer.cancelled)).toBe(true)
  })

  test("is the peer's own error when the peer refuses", async () => {
    const { channel, connection } = open()
    const next = connection.next({ timeoutMs: 10 })
    channel.arrive({ type: 'refuse', code: 'FOREIGN_CLUSTER', message: 'other' })
    await expect(next).rejects.toMatchObject({
      code: 'FOREIGN_CLUSTER',
      message: 'other',
      details: { remote: 'test://peer', fromPeer: true },
    })
    channel.end()
    await expect(connection.next({ timeoutMs: 10 })).rejects.toMatchObject({ code: 'FOREIGN_CLUSTER' })
  })

  test('is CONNECTION_LOST when the peer hangs up, after what it had said', async () => {
    const { channel, connection } = open()
    channel.arrive(ack(1))
    channel.end()
    expect(await connection.next({ timeoutMs: 10 })).toStrictEqual(ack(1))
    await expect(connection.next({ timeoutMs: 10 })).rejects.toMatchObject({ code: 'CONNECTION_LOST' })
  })

  test('rejects when this side closes meanwhile', async () => {
    const { connection } = open()
    const next = connection.next({ timeoutMs: 10 })
    connection.close(refusal)
    await expect(next).rejects.toBe(refusal)
  })

  test('is for one caller at a time', async () => {
    const { channel, connection, recorder } = open()
    const next = connection.next({ timeoutMs: 10 })
    await expect(connection.next({ timeoutMs: 10 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(() => connection.start(recorder)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
    channel.arrive(ack(1))
    expect(await next).toStrictEqual(ack(1))
  })
})

describe('messages', () => {
  test('hold the peer back while nobody takes them', () => {
    const { channel, connection, recorder } = open()
    expect(channel.paused).toBe(false)
    channel.arrive(ack(1))
    expect(channel.paused).toBe(true)
    connection.start(recorder)
    expect(channel.paused).toBe(false)
  })

  test('wait while paused, also those on their way, and come in order', () => {
    const { channel, connection, recorder } = open()
    connection.start(recorder)
    connection.pause()
    expect(channel.paused).toBe(true)
    channel.arrive(ack(1), ack(2))
    expect(recorder.events).toEqual([])
    connection.resume()
    channel.arrive(ack(3))
    expect(recorder.events).toEqual(['ack 1', 'ack 2', 'ack 3'])
    expect(channel.paused).toBe(false)
  })

  test('stop at a pause inside the handler', () => {
    const { channel, connection, recorder } = open()
    channel.arrive(ack(1), ack(2), ack(3))
    recorder.onMessage = () => connection.pause()
    connection.start(recorder)
    expect(recorder.events).toEqual(['ack 1'])
    expect(channel.paused).toBe(true)
    connection.resume()
    expect(recorder.events).toEqual(['ack 1', 'ack 2'])
  })

  test('that arrive inside the handler come after it', () => {
    const { channel, connection, recorder } = open()
    connection.start(recorder)
    recorder.onMessage = (message) => {
      if (message.type === 'ack' && message.received === 1) {
        channel.arrive(ack(2), ack(3))
        channel.end()
        recorder.events.push('back')
      }
    }
    channel.arrive(ack(1))
    expect(recorder.events).toEqual(['ack 1', 'back', 'ack 2', 'ack 3', 'closed undefined'])
  })

  test('are sent as frames, and the answer of the channel is handed on', () => {
    const { channel, connection, recorder } = open()
    connection.start(recorder)
    expect(connection.send(ack(1))).toBe(true)
    channel.sendReturns = false
    expect(connection.send(ack(2))).toBe(false)
    channel.handler?.drained()
    expect(channel.sent).toStrictEqual([ack(1), ack(2)])
    expect(recorder.events).toEqual(['drained'])
  })

  test('a drained before start is told at start', () => {
    const { channel, connection, recorder } = open()
    channel.handler?.drained()
    connection.start(recorder)
    expect(recorder.events).toEqual(['drained'])
  })

  test('the frame limit is the one of the channel', () => {
    const { channel, connection } = open()
    connection.frameBytesMax = 1000
    expect([channel.frameBytesMax, connection.frameBytesMax]).toEqual([1000, 1000])
  })
})

describe('the end', () => {
  test('with an error tells the peer, then closes, and comes back to the handler', () => {
    const { channel, connection, recorder } = open()
    connection.start(recorder)
    connection.close(refusal)
    expect(channel.sent).toStrictEqual([{ type: 'refuse', code: 'EPOCH_STALE', message: 'too old' }])
    expect(channel.closed?.error).toBe(refusal)
    expect(recorder.events).toEqual([])
    channel.arrive(ack(1))
    channel.end()
    expect(recorder.events).toEqual(['closed EPOCH_STALE'])
    expect(recorder.error).toBe(refusal)
  })

  test('in order tells nothing', () => {
    const { channel, connection, recorder } = open()
    connection.start(recorder)
    connection.close()
    connection.close(refusal)
    expect(connection.isClosed).toBe(true)
    expect(connection.send(ack(1))).toBe(false)
    channel.end()
    expect(channel.sent).toEqual([])
    expect(recorder.events).toEqual(['closed undefined'])
  })

  test('refuse is close with an error', () => {
    const { channel, connection } = open()
    connection.refuse(refusal)
    expect(channel.sent).toMatchObject([{ type: 'refuse', code: 'EPOCH_STALE' }])
    expect(channel.closed?.error).toBe(refusal)
  })

  test('a refusal of the peer ends the connection with its error, after the messages before it', () => {
    const { channel, connection, recorder } = open()
    connection.start(recorder)
    connection.pause()
    channel.arrive(ack(1), { type: 'refuse', code: 'SLOT_LOST', message: 'too slow' }, ack(2))
    expect(channel.closed).toBeDefined()
    expect(channel.sent).toEqual([])
    channel.end()
    expect(recorder.events).toEqual([])
    connection.resume()
    expect(recorder.events).toEqual(['ack 1', 'closed SLOT_LOST'])
    expect(recorder.error).toMatchObject({ message: 'too slow', details: { fromPeer: true } })
  })

  test('close drops what waits, also after the channel has gone', () => {
    const { channel, connection, recorder } = open()
    connection.start(recorder)
    connection.pause()
    channel.arrive(ack(1))
    channel.end()
    connection.close()
    expect(recorder.events).toEqual(['closed undefined'])
  })

  test('that came before start is told at start, after the messages', () => {
    const { channel, connection, recorder } = open()
    channel.arrive(ack(1))
    channel.end(new UnderstudyError('CONNECTION_LOST', 'test'))
    connection.start(recorder)
    expect(recorder.events).toEqual(['ack 1', 'closed CONNECTION_LOST'])
  })

  test('bytes that are no message: the peer is told, the handler gets PROTOCOL_VIOLATION', () => {
    const { channel, connection, recorder } = open()
    connection.start(recorder)
    channel.handler?.frame(Uint8Array.of(99, 1, 2))
    expect(channel.sent).toMatchObject([{ type: 'refuse', code: 'PROTOCOL_VIOLATION' }])
    channel.handler?.frame(Buffer.concat(encodeMessage(ack(1))))
    channel.end()
    expect(recorder.events).toEqual(['closed PROTOCOL_VIOLATION'])
  })

  test('a handler that throws: its error for the peer and for itself', () => {
    const { channel, connection, recorder } = open()
    connection.start(recorder)
    recorder.onMessage = () => {
      throw refusal
    }
    channel.arrive(ack(1), ack(2))
    channel.end()
    expect(channel.sent).toMatchObject([{ type: 'refuse', code: 'EPOCH_STALE' }])
    expect(recorder.events).toEqual(['ack 1', 'closed EPOCH_STALE'])
  })

  test('a bug in a handler: CONNECTION_LOST with the cause, and nothing of it for the peer', () => {
    const { channel, connection, recorder } = open()
    connection.start(recorder)
    const bug = new TypeError('a secret')
    recorder.onMessage = () => {
      throw bug
    }
    channel.arrive(ack(1))
    channel.end()
    expect(recorder.error).toMatchObject({ code: 'CONNECTION_LOST', cause: bug })
    expect(JSON.stringify(channel.sent)).not.toContain('secret')
  })
})
