import { expect, test } from 'vitest'
import * as fc from 'fast-check'
import type { Message } from '@understudy/protocol'
import { SenderMachine, type SenderAction, type SenderEvent } from '../src/index.ts'
import { printAction, testScripts, type Command } from './support/script.ts'

const LINK = {
  heartbeatMs: 1000,
  deadlineMs: 5000,
  windowBytes: 1000,
  frameBytes: 400,
  batchMs: 5,
  batchBytes: 150,
}

function machineOf(command: Command): SenderMachine {
  return new SenderMachine({
    heartbeatMs: 1000,
    deadlineMs: 5000,
    windowBytes: command.number('window', 1000),
    frameBytes: command.number('frame', 400),
    batchMs: command.number('batch', 0),
    batchBytes: command.number('batchBytes', 1000),
    epoch: command.number('epoch', 3),
    from: command.number('from'),
    durable: command.number('durable'),
    highWatermark: command.number('highWatermark', command.number('durable')),
    nowMs: 0,
  })
}

function messageOf(command: Command): Message {
  const epoch = command.number('epoch', 3)
  switch (command.words[2] ?? '') {
    case 'ack': {
      const durable = command.number('durable')
      return {
        type: 'ack',
        epoch,
        received: command.number('received', durable),
        durable,
        applied: command.number('applied', durable),
      }
    }
    case 'heartbeat':
      return {
        type: 'heartbeat',
        epoch,
        lsn: 0,
        highWatermark: 0,
        sentAtMs: command.number('sentAt', 0),
        echoMs: command.number('echo', 0),
        slots: [],
      }
    default:
      return { type: 'records', highWatermark: 0, bytes: new Uint8Array() }
  }
}

function eventOf(command: Command): SenderEvent {
  switch (command.words[1] ?? '') {
    case 'progress': {
      const durable = command.number('durable')
      return { kind: 'progress', durable, highWatermark: command.number('highWatermark', durable) }
    }
    case 'message':
      return { kind: 'message', message: messageOf(command) }
    case 'sent':
      return {
        kind: 'sent',
        last: command.number('last'),
        bytes: command.number('bytes'),
        isWritable: command.text('full', 'no') === 'no',
      }
    case 'writable':
      return { kind: 'writable' }
    case 'due':
    case 'tick':
      return { kind: command.words[1] as 'due' | 'tick' }
    default:
      throw new Error(`unknown event ${command.words.join(' ')}`)
  }
}

testScripts('sender', () => {
  let machine: SenderMachine | undefined
  return (command) => {
    if (command.words[0] === 'follower') machine = machineOf(command)
    if (machine === undefined) throw new Error('a script begins with "follower"')
    if (command.words[0] === 'follower') return []
    if (command.words[0] === 'status') return [printAction({ kind: 'status', ...machine.progress() })]
    const actions = machine.step(eventOf(command), Number(command.words[0]))
    return actions.length === 0 ? ['nothing'] : actions.map(printAction)
  }
})

test('unacked bytes stay within the window plus a record, and every durable record goes out once and in order', () => {
  const events = fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant('progress' as const), by: fc.integer({ min: 0, max: 20 }) }),
      fc.record({ kind: fc.constant('ack' as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
      fc.record({ kind: fc.constant('full' as const) }),
      fc.record({ kind: fc.constant('writable' as const) }),
      fc.record({ kind: fc.constant('tick' as const) }),
      fc.record({ kind: fc.constant('soon' as const) }),
    ),
    { maxLength: 200 },
  )
  fc.assert(
    fc.property(events, fc.integer({ min: 1, max: 300 }), (script, recordBytes) => {
      const machine = new SenderMachine({
        ...LINK,
        epoch: 1,
        from: 1,
        durable: 0,
        highWatermark: 0,
        nowMs: 0,
      })
      let durable = 0
      let nowMs = 0
      let isWritable = true
      let isFilling = false
      let sent = 0
      let acked = 0
      let isWaiting = false
      const perform = (actions: readonly SenderAction[]): void => {
        for (const action of actions) {
          expect(action.kind).not.toBe('close')
          if (action.kind === 'wait') {
            expect(isWaiting).toBe(false)
            isWaiting = true
          }
          if (action.kind !== 'send') continue
          expect(isWritable).toBe(true)
          expect(action.from).toBe(sent + 1)
          expect(action.upTo).toBeLessThanOrEqual(durable)
          const count = Math.max(1, Math.min(action.upTo - sent, Math.floor(action.bytesMax / recordBytes)))
          sent += count
          if (isFilling) isWritable = isFilling = false
          expect((sent - acked) * recordBytes).toBeLessThanOrEqual(LINK.windowBytes + recordBytes)
          perform(machine.step({ kind: 'sent', last: sent, bytes: count * recordBytes, isWritable }, nowMs))
        }
      }
      const ack = (upTo: number): void => {
        acked = upTo
        const message: Message = { type: 'ack', epoch: 1, received: upTo, durable: upTo, applied: upTo }
        perform(machine.step({ kind: 'message', message }, nowMs))
      }
      for (const event of script) {
        nowMs += event.kind === 'soon' ? 1 : 10
        if (isWaiting && event.kind !== 'soon') {
          isWaiting = false
          perform(machine.step({ kind: 'due' }, nowMs))
        }
        if (event.kind === 'progress' || event.kind === 'soon') {
          durable += event.kind === 'soon' ? 1 : event.by
          perform(machine.step({ kind: 'progress', durable, highWatermark: durable }, nowMs))
        } else if (event.kind === 'ack') ack(acked + Math.floor((sent - acked) * event.share))
        else if (event.kind === 'full') isFilling = true
        else if (event.kind === 'writable') {
          isWritable = true
          perform(machine.step({ kind: 'writable' }, nowMs))
        } else perform(machine.step({ kind: 'tick' }, nowMs))
      }
      isFilling = false
      isWritable = true
      nowMs += 10
      perform(machine.step({ kind: 'due' }, nowMs))
      perform(machine.step({ kind: 'writable' }, nowMs))
      // One ack for each record is more than enough rounds.
      for (let rounds = durable; rounds >= 0; rounds--) ack(sent)
      expect(sent).toBe(durable)
      expect(machine.progress()).toMatchObject({ unackedBytes: 0, durable })
    }),
  )
})

test('a follower whose ack is awaited does not rest; a raised high watermark does, or goes with the next records', () => {
  const machine = new SenderMachine({ ...LINK, epoch: 3, from: 1, durable: 1, highWatermark: 1, nowMs: 0 })
  const sent = (last: number, nowMs: number): SenderAction[] =>
    machine.step({ kind: 'sent', last, bytes: 100, isWritable: true }, nowMs)
  const progress = (
    durable: number,
    highWatermark: number,
    isAwaited: boolean,
    nowMs: number,
  ): SenderAction[] => machine.step({ kind: 'progress', durable, highWatermark, isAwaited }, nowMs)
  machine.step({ kind: 'tick' }, 0)
  sent(1, 0)
  expect(progress(2, 1, true, 1)).toMatchObject([{ kind: 'send', from: 2, upTo: 2, highWatermark: 1 }])
  expect(sent(2, 1)).toEqual([])
  expect(progress(2, 2, false, 2)).toEqual([{ kind: 'wait', delayMs: 4 }])
  expect(progress(3, 2, true, 3)).toMatchObject([{ kind: 'send', from: 3, highWatermark: 2 }])
  expect(sent(3, 3)).toEqual([])
  expect(progress(3, 3, false, 4)).toEqual([])
  expect(machine.step({ kind: 'due' }, 6)).toEqual([{ kind: 'wait', delayMs: 2 }])
  expect(machine.step({ kind: 'due' }, 8)).toMatchObject([
    { kind: 'heartbeat', heartbeat: { highWatermark: 3 } },
  ])
})
