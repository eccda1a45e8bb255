/**
 * Whether a peer can still be heard, as one node sees it.
 *
 * Decides: `alive`, `suspected` or `unreachable`, per peer, with the reason. Leaves to others: what the rest of the
 * cluster hears (confirm), heartbeats, connections, timers.
 *
 * Validity conditions:
 * 1. `tick` is called every `tickMs` on the loop that reads the heartbeats. Time that this loop missed counts for nobody, and what
 *    peers sent then has one more interval to be read.
 * 2. `unreachable` is what this node knows: silence beyond any doubt, or a peer's machine that refuses connections. It is
 *    never by itself a reason to replace a leader.
 * 3. Silence of `silenceMsMax` of observed time is always suspected, however irregular the peer was before.
 */
import { UnderstudyError } from '@understudy/contracts'
import { deviationsAt, IntervalWindow, type AccrualSettings } from './accrual.ts'
import { StallGuard } from './stall-guard.ts'

export interface DetectorOptions {
  /** How often peers send heartbeats, in milliseconds. Default 100. */
  readonly intervalMs?: number
  /** How often `tick` is called. Default half of `intervalMs`. */
  readonly tickMs?: number
  /** How late a tick may be before the rest is not counted. Default `intervalMs`. */
  readonly stallMs?: number
  /** φ from which a peer is suspected. Default 8. */
  readonly suspectAt?: number
  /** φ from which it is unreachable. Default 16. */
  readonly unreachableAt?: number
  /** Floor of the deviation. Default twice `intervalMs`. */
  readonly deviationMsMin?: number
  /** Longest silence that is not suspected. Default 30 times `intervalMs`. */
  readonly silenceMsMax?: number
  /** Intervals that are remembered per peer. Default 100. */
  readonly windowSize?: number
}

export type PeerState = 'alive' | 'suspected' | 'unreachable'

/** By what a peer is not heard. */
export type SilenceCause = 'silence' | 'connection-lost' | 'connection-refused'

export interface Suspicion {
  readonly state: PeerState
  /** φ. */
  readonly level: number
  /** Since the last heartbeat, without what this node missed itself, in milliseconds. */
  readonly silentMs: number
  /** The silence from which it is suspected now: grows while heartbeats are irregular. */
  readonly suspectedFromMs: number
  /** Absent while it is alive. */
  readonly cause?: SilenceCause
  /** For people. */
  readonly reason: string
}

interface Peer {
  readonly window: IntervalWindow
  /** In observed time. */
  heardAtMs: number
  /** The next heartbeat ends no interval: the first one, or one on a new connection. */
  isFresh: boolean
  connection: 'unknown' | 'open' | 'lost' | 'refused'
}

export class FailureDetector {
  readonly #settings: Required<DetectorOptions>
  readonly #accrual: AccrualSettings
  readonly #guard: StallGuard
  /** In deviations: the same for all. */
  readonly #suspectedFrom: number
  readonly #peers = new Map<string, Peer>()

  constructor(options: DetectorOptions = {}) {
    this.#settings = resolveDetector(options)
    const { intervalMs, deviationMsMin, windowSize, silenceMsMax, tickMs, stallMs } = this.#settings
    this.#accrual = { intervalMs, deviationMsMin, windowSize, intervalMsMax: silenceMsMax }
    this.#suspectedFrom = deviationsAt(this.#settings.suspectAt)
    this.#guard = new StallGuard({ tickMs, toleranceMs: stallMs })
  }

  /** All time that this node was not there to hear anybody. */
  get missedMs(): number {
    return this.#guard.missedMs
  }

  /** Every `tickMs`, on the loop that reads heartbeats. */
  tick(nowMs: number): void {
    this.#look(nowMs)
  }

  /** From now on heartbeats of this peer are expected; no effect when they are already. */
  expect(name: string, nowMs: number): void {
    const now = this.#look(nowMs)
    if (this.#peers.has(name)) return
    const window = new IntervalWindow(this.#accrual)
    this.#peers.set(name, { window, heardAtMs: now, isFresh: true, connection: 'unknown' })
  }

  /** It leads since now: what was heard of it before, in another role, is no measure. */
  beginsToLead(name: string, nowMs: number): void {
    this.#peers.delete(name)
    this.expect(name, nowMs)
  }

  forget(name: string): void {
    this.#peers.delete(name)
  }

  /** Anything that proves that the peer's main loop runs. */
  heartbeat(name: string, nowMs: number): void {
    this.expect(name, nowMs)
    const now = this.#look(nowMs)
    const peer = this.#peers.get(name) as Peer
    const gapMs = now - peer.heardAtMs
    // The end of an outage is no rhythm: learned as one, it would hide the next outage for longer.
    if (!peer.isFresh && gapMs < this.#suspectedFromMs(peer)) peer.window.add(gapMs)
    peer.heardAtMs = now
    peer.isFresh = false
    peer.connection = 'open'
  }

  /** The connection ended. Suspected at once: a process that dies closes its sockets, and so does a network that flaps. */
  connectionLost(name: string, nowMs: number): void {
    this.expect(name, nowMs)
    const peer = this.#peers.get(name) as Peer
    peer.connection = 'lost'
    peer.isFresh = true
  }

  /** The peer's machine answers that nobody listens there. */
  connectionRefused(name: string, nowMs: number): void {
    this.expect(name, nowMs)
    const peer = this.#peers.get(name) as Peer
    peer.connection = 'refused'
    peer.isFresh = true
  }

  /** Whether this node missed time itself so recently that its view says nothing yet. */
  stalled(nowMs: number): boolean {
    this.#look(nowMs)
    return this.#guard.stalled(nowMs, 2 * this.#settings.intervalMs)
  }

  /** What this node thinks of a peer. One that was never expected is unreachable. */
  suspicion(name: string, nowMs: number): Suspicion {
    const now = this.#look(nowMs)
    const peer = this.#peers.get(name)
    if (peer === undefined)
      return {
        state: 'unreachable',
        level: Infinity,
        silentMs: Infinity,
        suspectedFromMs: 0,
        cause: 'silence',
        reason: `nothing was ever heard of ${name}`,
      }
    const { unreachableAt, silenceMsMax } = this.#settings
    const silentMs = now - peer.heardAtMs
    const level = peer.window.phi(silentMs)
    const suspectedFromMs = this.#suspectedFromMs(peer)
    const seen = { level, silentMs, suspectedFromMs }
    if (peer.connection === 'refused')
      return {
        ...seen,
        state: 'unreachable',
        cause: 'connection-refused',
        reason: `${name} refuses connections`,
      }
    const rhythm = `its heartbeats come every ${round(peer.window.meanMs)} ms ± ${round(peer.window.deviationMs)}`
    if (silentMs >= suspectedFromMs) {
      const isCertain = level >= unreachableAt || silentMs >= 2 * silenceMsMax
      return {
        ...seen,
        state: isCertain ? 'unreachable' : 'suspected',
        cause: peer.connection === 'lost' ? 'connection-lost' : 'silence',
        reason: `${name} is silent for ${round(silentMs)} ms; ${rhythm}, and ${round(suspectedFromMs)} ms is the limit`,
      }
    }
    if (peer.connection === 'lost')
      return {
        ...seen,
        state: 'suspected',
        cause: 'connection-lost',
        reason: `the connection to ${name} ended`,
      }
    return { ...seen, state: 'alive', reason: `${name} was heard ${round(silentMs)} ms ago; ${rhythm}` }
  }

  /** Silence of so long is suspected. */
  #suspectedFromMs(peer: Peer): number {
    return Math.min(peer.window.silenceAt(this.#suspectedFrom), this.#settings.silenceMsMax)
  }

  #look(nowMs: number): number {
    const { observedMs, missedMs } = this.#guard.look(nowMs)
    // What was sent meanwhile may be gone with the pause, so that the next heartbeat is one interval away.
    if (missedMs > 0)
      for (const peer of this.#peers.values()) {
        peer.heardAtMs = Math.min(observedMs, peer.heardAtMs + peer.window.meanMs)
        peer.isFresh = true
      }
    return observedMs
  }
}

/** Every default of the detector. */
export function resolveDetector(options: DetectorOptions = {}): Required<DetectorOptions> {
  const { intervalMs = 100 } = options
  const { tickMs = intervalMs / 2, stallMs = intervalMs, suspectAt = 8, unreachableAt = 16 } = options
  const { deviationMsMin = 2 * intervalMs, silenceMsMax = 30 * intervalMs, windowSize = 100 } = options
  const settings = {
    intervalMs,
    tickMs,
    stallMs,
    suspectAt,
    unreachableAt,
    deviationMsMin,
    silenceMsMax,
    windowSize,
  }
  for (const [name, value] of Object.entries(settings))
    if (!(value > 0)) throw invalid(`${name} is ${value}; give a positive number`)
  if (unreachableAt < suspectAt)
    throw invalid(
      `unreachableAt is ${unreachableAt}, below suspectAt, ${suspectAt}; a peer is suspected first`,
    )
  if (silenceMsMax <= intervalMs)
    throw invalid(
      `silenceMsMax is ${silenceMsMax}, and heartbeats come every ${intervalMs} ms; allow several`,
    )
  return settings
}

function invalid(what: string): UnderstudyError {
  return new UnderstudyError('INVALID_ARGUMENT', `Failure detector: ${what}. Nothing was started.`)
}

function round(value: number): number {
  return Math.round(value)
}
