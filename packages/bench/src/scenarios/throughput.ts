/**
 * Messages per second over loopback: each transport beside a bare socket of its kind, sender and receiver in processes
 * of their own.
 *
 * A round starts new processes for each kind, lets them warm up, and measures the kinds of a group next to each other, size by
 * size; the next round goes in the opposite order. Ratios are taken within a round. While one kind is measured, the
 * processes of the others in its group idle.
 */
import path from 'node:path'
import { UnderstudyError } from '@understudy/contracts'
import { Child } from '../processes/child.ts'
import type { Received, Sent, StreamCalls, Task } from '../processes/stream.ts'
import { inTurns, Samples } from '../rounds.ts'
import type { ScenarioContext } from '../scenario.ts'
import { median, ratios, summarize, type Summary } from '../statistics.ts'
import type { TransportFigureName } from '../transports/figures.ts'
import {
  GROUPS,
  KINDS,
  SIZES,
  SIZE_NAMES,
  type KindName,
  type SizeName,
  type TransportName,
} from '../transports/kinds.ts'
import type { TransportSettings } from '../transports/options.ts'
import type { TransportScenario } from '../transports/run.ts'
import { selfSigned, type SelfSigned } from '../transports/self-signed.ts'

/** Code is compiled, and buffers have the size that they keep. */
const WARM_UP_SECONDS_MAX = 0.25

/** What figures of a transport begin with. */
const FIGURE: Readonly<Record<TransportName, 'tcpVsNet' | 'unixVsNet' | 'tlsVsTls' | 'wsVsWs' | 'wssVsWss'>> =
  {
    tcp: 'tcpVsNet',
    unix: 'unixVsNet',
    tls: 'tlsVsTls',
    ws: 'wsVsWs',
    wss: 'wssVsWss',
  }

export const throughput: TransportScenario = async (context) => {
  const { settings, reporter } = context
  const certificate = selfSigned()
  const groups = GROUPS.filter(([bare]) => settings.transports.includes(KINDS[bare].transport))
  reporter.begin('throughput', settings.rounds * groups.flat().length * SIZE_NAMES.length)
  const samples = new Samples()
  await inTurns(settings.rounds, groups, (group, round) =>
    measureGroup(group, round, { samples, certificate, context }),
  )
  reporter.end()
  return { figures: throughputFigures(samples), details: { kinds: ratesOf(samples) } }
}

interface GroupContext {
  readonly samples: Samples
  readonly certificate: SelfSigned
  readonly context: ScenarioContext<TransportSettings>
}

async function measureGroup(
  group: readonly KindName[],
  round: number,
  { samples, certificate, context }: GroupContext,
): Promise<void> {
  const { settings, reporter, directory } = context
  await using ends = new AsyncDisposableStack()
  const streams = new Map<KindName, Stream>()
  for (const kind of group) {
    const stream = ends.use(new Stream(kind))
    streams.set(kind, stream)
    await stream.start(certificate, path.join(directory, `${kind}-${round}`))
    const warmUpSeconds = Math.min(settings.seconds, WARM_UP_SECONDS_MAX)
    for (const size of SIZE_NAMES) await stream.measure(SIZES[size], warmUpSeconds)
  }
  for (const size of SIZE_NAMES)
    for (const kind of round % 2 === 1 ? group : group.toReversed()) {
      const stream = streams.get(kind) as Stream
      const { perSecond, sendNs, receiveNs } = await stream.measure(SIZES[size], settings.seconds)
      samples.push(`${kind} ${size}`, perSecond)
      samples.push(`${kind} ${size} send`, sendNs)
      samples.push(`${kind} ${size} receive`, receiveNs)
      const megabytes = (perSecond * SIZES[size]) / 1e6
      reporter.step(
        `round ${round} ${kind} ${size}: ${Math.round(perSecond)} messages/s, ${Math.round(megabytes)} MB/s`,
      )
    }
}

interface Measured {
  /** Messages. */
  readonly perSecond: number
  /** Processor time for each message. */
  readonly sendNs: number
  readonly receiveNs: number
}

/** Both ends of one kind. */
class Stream implements AsyncDisposable {
  readonly #kind: KindName
  readonly #listener = new Child<StreamCalls>('stream')
  readonly #dialler = new Child<StreamCalls>('stream')
  #options: Parameters<StreamCalls['open']>[0] | undefined
  #address = ''

  constructor(kind: KindName) {
    this.#kind = kind
  }

  async start(certificate: SelfSigned, socketFile: string): Promise<void> {
    this.#options = { kind: this.#kind, certificate, socketFile }
    this.#address = await this.#listener.call('open', this.#options)
  }

  /** Throws `REQUEST_FAILED` when a message was lost. */
  async measure(size: number, seconds: number): Promise<Measured> {
    if (this.#options === undefined) throw new TypeError('start comes first')
    const isReceiverDialling = KINDS[this.#kind].direction === 'dialled'
    const task = (role: Task['role']): Task => ({ role, size, seconds })
    await this.#listener.call('prepare', task(isReceiverDialling ? 'send' : 'receive'))
    const [dialled, listened] = await Promise.all([
      this.#dialler.call('run', {
        ...this.#options,
        address: this.#address,
        task: task(isReceiverDialling ? 'receive' : 'send'),
      }),
      this.#listener.call('done'),
    ])
    const [received, sent] = (isReceiverDialling ? [dialled, listened] : [listened, dialled]) as [
      Received,
      Sent,
    ]
    assertAllCame(this.#kind, size, sent, received)
    const { messages } = sent
    return {
      perSecond: messages / received.seconds,
      sendNs: (sent.cpuSeconds * 1e9) / messages,
      receiveNs: (received.cpuSeconds * 1e9) / messages,
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#dialler[Symbol.asyncDispose]()
    await this.#listener[Symbol.asyncDispose]()
  }
}

/** A rate of messages that were lost is worth nothing. Throws `REQUEST_FAILED`. */
export function assertAllCame(kind: KindName, size: number, sent: Sent, received: Received): void {
  const { bytes, messages = sent.messages } = received
  if (bytes === sent.messages * size && messages === sent.messages) return
  throw new UnderstudyError(
    'REQUEST_FAILED',
    `Of ${sent.messages} messages of ${size} bytes over ${kind}, ${messages} with ${bytes} bytes in all came. The measurement was given up.`,
  )
}

/** Medians over the rounds of the ratio to the bare socket of the same round; of two directions the worse one. */
export function throughputFigures(samples: Samples): Partial<Record<TransportFigureName, number>> {
  const figures: Partial<Record<TransportFigureName, number>> = {}
  for (const size of SIZE_NAMES)
    for (const [bare, ...kinds] of GROUPS)
      for (const kind of kinds) {
        const rates = samples.of(`${kind} ${size}`)
        if (rates.length === 0) continue
        const name: TransportFigureName = `${FIGURE[KINDS[kind].transport]}${size}`
        const value = median(ratios(rates, samples.of(`${bare} ${size}`)))
        figures[name] = Math.min(value, figures[name] ?? value)
      }
  return figures
}

export interface KindRates {
  /** Of all rounds. */
  readonly messagesPerSecond: Summary
  /** 10⁶ bytes of messages, without what frames add. */
  readonly megabytesPerSecond: number
  /** Processor time for each message, median. */
  readonly sendNs: number
  readonly receiveNs: number
  /** Against the bare socket beside it, in each round; absent for the bare one. */
  readonly vsBare?: readonly number[]
}

/** For each kind and size. */
export type ThroughputRates = Readonly<Partial<Record<KindName, Readonly<Record<SizeName, KindRates>>>>>

function ratesOf(samples: Samples): ThroughputRates {
  const rates: Partial<Record<KindName, Readonly<Record<SizeName, KindRates>>>> = {}
  for (const group of GROUPS)
    for (const kind of group) {
      if (samples.of(`${kind} 1k`).length === 0) continue
      rates[kind] = Object.fromEntries(
        SIZE_NAMES.map((size) => [size, rateOf(samples, group[0], kind, size)]),
      ) as Record<SizeName, KindRates>
    }
  return rates
}

function rateOf(samples: Samples, bare: KindName, kind: KindName, size: SizeName): KindRates {
  const messagesPerSecond = summarize(samples.of(`${kind} ${size}`))
  return {
    messagesPerSecond,
    megabytesPerSecond: (messagesPerSecond.median * SIZES[size]) / 1e6,
    sendNs: median(samples.of(`${kind} ${size} send`)),
    receiveNs: median(samples.of(`${kind} ${size} receive`)),
    ...(kind !== bare && { vsBare: ratios(messagesPerSecond.values, samples.of(`${bare} ${size}`)) }),
  }
}
