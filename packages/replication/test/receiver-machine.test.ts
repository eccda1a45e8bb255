import { UnderstudyError, type ErrorCode } from '@understudy/contracts'
import type { Message } from '@understudy/protocol'
import { ReceiverMachine, type ReceiverEvent } from '../src/index.ts'
import { parseHistory } from './support/history.ts'
import { printAction, testScripts, type Command } from './support/script.ts'

function machineOf(command: Command): ReceiverMachine {
  const own = parseHistory(command.text('log', '..0'))
  return new ReceiverMachine({
    cluster: command.text('cluster', 'c'),
    durable: own.end.lsn,
    applied: command.number('applied', own.end.lsn),
    epoch: own.end.epoch,
    link: {
      heartbeatMs: 1000,
      deadlineMs: 5000,
      windowBytes: 1000,
      frameBytes: 400,
      batchMs: 1,
      batchBytes: 1000,
      appliedAckMs: 5,
    },
    backoff: { firstMs: 100, lastMs: 1000 },
    unsyncedBytesMax: 1000,
    random: { uint32: () => 0x8000_0000 },
  })
}

function messageOf(command: Command): Message {
  if (command.words[2] === 'welcome') {
    const { history, end } = parseHistory(command.text('leader'))
    const after = command.has('truncate') ? command.number('truncate') : undefined
    const reason = command.has('snapshot') ? command.text('snapshot') : undefined
    return {
      type: 'welcome',
      version: 1,
      cluster: command.text('cluster', 'c'),
      node: 'l',
      history,
      end,
      verdict:
        after !== undefined
          ? { kind: 'truncate', after }
          : reason !== undefined
            ? { kind: 'snapshot', reason }
            : { kind: 'continue', from: command.number('from') },
      heartbeatMs: command.number('heartbeatMs', 1000),
      deadlineMs: 5000,
    }
  }
  if (command.words[2] === 'heartbeat') {
    const lsn = command.number('lsn', 0)
    return {
      type: 'heartbeat',
      epoch: command.number('epoch', 1),
      lsn,
      highWatermark: command.number('highWatermark', lsn),
      sentAtMs: command.number('sentAt', 1),
      echoMs: command.number('echo', 0),
      slots: [],
    }
  }
  return { type: 'ack', epoch: 1, received: 0, durable: 0, applied: 0 }
}

function eventOf(command: Command): ReceiverEvent {
  const error = command.has('error')
    ? new UnderstudyError(command.text('error') as ErrorCode, 'as told')
    : undefined
  const name = command.words[1] ?? ''
  switch (name) {
    case 'greeted': {
      const { history, end } = parseHistory(command.text('log'))
      return { kind: 'greeted', history, end: end.lsn }
    }
    case 'message':
      return { kind: 'message', message: messageOf(command) }
    case 'appended':
      return {
        kind: 'appended',
        last: command.number('last'),
        epoch: command.number('epoch', 1),
        bytes: command.number('bytes', 100),
        highWatermark: command.number('highWatermark', command.number('last')),
        awaitsAcks: command.words.includes('awaited'),
        asksReceived: command.words.includes('asksReceived'),
      }
    case 'synced':
      return { kind: 'synced', durable: command.number('durable') }
    case 'applied':
      return { kind: 'applied', applied: command.number('applied') }
    case 'closed':
      return { kind: 'closed', error }
    case 'start':
    case 'due':
    case 'tick':
      return { kind: name }
    case 'undone':
      return { kind: 'undone', applied: command.number('applied') }
    case 'lost':
      return { kind: 'lost', reason: 'as it said' }
    case 'dialFailed':
    case 'undoFailed':
    case 'appendFailed':
    case 'applyFailed':
    case 'failed':
      if (error === undefined) throw new Error(`${name} needs error=`)
      return { kind: name, error }
    default:
      throw new Error(`unknown event ${command.words.join(' ')}`)
  }
}

testScripts('receiver', () => {
  let machine: ReceiverMachine | undefined
  return (command) => {
    if (command.words[0] === 'follower') machine = machineOf(command)
    if (machine === undefined) throw new Error('a script begins with "follower"')
    if (command.words[0] === 'follower') return []
    if (command.words[0] === 'report') return [printAction({ kind: 'report', ...machine.progress() })]
    if (command.words[1] === 'lag') {
      const lag = machine.lag(Number(command.words[0]))
      return [lag === undefined ? 'lag unknown' : printAction({ kind: 'lag', ...lag })]
    }
    const actions = machine.step(eventOf(command), Number(command.words[0]))
    return actions.length === 0 ? ['nothing'] : actions.map(printAction)
  }
})
