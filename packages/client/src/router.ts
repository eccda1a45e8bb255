/**
 * Makes a call until it is answered: by the leader, or by whichever node can.
 *
 * Decides: when a call is made again, how long it waits for a leader, what it is told at the end. Leaves to others: which node is next
 * (routing), what an error means (outcomes), connections (pool).
 *
 * 1. A call ends by its deadline, with an answer or with an error that says whether something may have been done.
 * 2. What may have been done is made again only when that is harmless: a read, or a write with a key.
 * 3. A call that waits at a node learns that another one was promoted, from whichever node says so first, and does not wait for its time.
 */
import { UnderstudyError, isUnderstudyError, type Clock } from '@understudy/contracts'
import type { NodeClient } from './connect.ts'
import type { SeenEpochs } from './epochs.ts'
import { outcomeOfRead, type Outcome } from './outcomes.ts'
import type { Pool } from './pool.ts'
import type { Preference, Routes } from './routing.ts'
import { Tries } from './tries.ts'
import { inTurn, pause, within, type News } from './waiting.ts'

/** What one call of a node gets. */
export interface NodeCall {
  readonly timeoutMs: number
  readonly signal: AbortSignal
  /** For a read: how long the node may wait for a position. */
  readonly waitMs: number
}

export type Run<R> = (node: NodeClient, call: NodeCall) => Promise<R>

export interface RouterOptions {
  readonly routes: Routes
  readonly pool: Pool
  readonly epochs: SeenEpochs
  readonly news: News
  readonly clock: Clock
  /** A node that does not answer for so long is not waited for alone. */
  readonly hedgeAfterMs: number
}

export interface LeaderCall {
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
  /** `write`, or what else it is, for messages. */
  readonly what: string
  readonly outcomeOf: (error: unknown) => Outcome
  /** It may be made again after a doubt. */
  readonly isRepeatable: boolean
  /** A follower may send it on. */
  readonly isForwardable: boolean
}

export interface ReadCall {
  readonly timeoutMs: number
  readonly signal: AbortSignal | undefined
  readonly prefer: Preference
  /** It runs on one node at a time, and once this says that it has begun, on no other one. Default: it may run beside itself. */
  readonly hasBegun?: () => boolean
}

/** Nodes that one call is sent on to, one after the other, before it pauses. */
const HOPS_MAX = 8
/** What is left of a call's time is not enough for another try: a share of the whole, and at most so much. */
const SPARE_SHARE = 0.2
const SPARE_MS_MAX = 250
/** Longer than any call. */
const NEVER_MS = 2 ** 31 - 1
/** Longest wait for all nodes to say who leads. */
const ASK_MS = 5_000
/** How long the first node that is connected is waited for alone. */
const CONNECT_HEDGE_MS = 250
/** How long "nearest" trusts what it measured. */
const MEASURE_MS = 5_000

export class Router {
  readonly #options: RouterOptions
  readonly #closed = new AbortController()
  #hasAsked = false
  #measuredAtMs = Number.NEGATIVE_INFINITY

  constructor(options: RouterOptions) {
    this.#options = options
  }

  close(): void {
    this.#closed.abort()
  }

  /** To the leader, wherever that is. */
  async onLeader<R>(run: Run<R>, asked: LeaderCall): Promise<R> {
    const { routes, clock } = this.#options
    const deadlineMs = clock.monotonic() + asked.timeoutMs
    const signal = this.#signal(asked.signal)
    const tries = new Tries(asked.what)
    const tried = new Set<string>()
    let isAsked = false
    // Whoever would write to a node that leads on after it was replaced asks the others first, once.
    if (!this.#hasAsked) await this.#askFirst(asked.timeoutMs, signal, tries)
    for (let rounds = 1, hops = 0; ;) {
      const nowMs = clock.monotonic()
      if (signal.aborted) throw this.#stopped(tries, asked)
      // A try that has no time to be answered would leave a doubt behind.
      if (nowMs >= deadlineMs - (tries.isEmpty ? 0 : spareMs(asked.timeoutMs)))
        throw tries.late(asked.timeoutMs, asked.isRepeatable, routes.refused)
      const address = hops < HOPS_MAX ? this.#target(nowMs, tried, asked, isAsked) : undefined
      if (address !== undefined) {
        hops += 1
        tried.add(address)
        try {
          return await this.#attempt(address, deadlineMs - nowMs, run, signal)
        } catch (error) {
          await this.#judge(address, error, asked, tries, signal)
          // What was refused for now is sent again after a pause, to whoever leads then.
          if (tries.isLater(address)) hops = HOPS_MAX
        }
      } else if (!isAsked && hops < HOPS_MAX) {
        isAsked = true
        await this.#askAll(Math.min(ASK_MS, deadlineMs - nowMs), signal, tries)
      } else {
        if (tries.isHopeless(routes.addresses)) throw tries.last
        const pauseMs = Math.min(routes.pauseMs(nowMs, rounds), deadlineMs - nowMs)
        await pause(clock, pauseMs, signal, this.#options.news)
        rounds += 1
        hops = 0
        isAsked = false
        tried.clear()
      }
    }
  }

  /** From whichever node answers first, in the order of the preference. */
  async read<R>(run: Run<R>, asked: ReadCall): Promise<R> {
    const { routes, clock, hedgeAfterMs } = this.#options
    const deadlineMs = clock.monotonic() + asked.timeoutMs
    const signal = this.#signal(asked.signal)
    const tries = new Tries('read')
    const isFinal = (error: unknown): boolean => asked.hasBegun?.() === true || isFinalForRead(error, signal)
    if (asked.prefer === 'nearest') this.#measure()
    for (let rounds = 1; ; rounds += 1) {
      const nowMs = clock.monotonic()
      if (signal.aborted) throw this.#stopped(tries, undefined)
      if (nowMs >= deadlineMs) throw tries.late(asked.timeoutMs, true, routes.refused)
      const leftMs = deadlineMs - nowMs
      try {
        return await inTurn(routes.forRead(asked.prefer, nowMs), {
          clock,
          // One that must not run beside itself is given the time that a node may wait for, and the others come after it.
          hedgeMs: asked.hasBegun === undefined ? hedgeAfterMs : NEVER_MS,
          signal,
          isFinal,
          start: (address, both, isLast) =>
            this.#readFrom(address, run, {
              timeoutMs: leftMs,
              signal: both,
              // The next one is started beside it, and gives it time to end.
              waitMs: isLast ? leftMs : Math.min(leftMs, 2 * hedgeAfterMs),
            }).catch((error: unknown) => {
              if (!both.aborted) tries.add(address, error)
              throw error
            }),
        })
      } catch (error) {
        if (signal.aborted) continue
        if (isFinal(error) || tries.isHopeless(routes.addresses)) throw unwrapped(error)
      }
      void this.#options.pool.askAll()
      const pauseMs = Math.min(routes.pauseMs(clock.monotonic(), rounds), deadlineMs - clock.monotonic())
      await pause(clock, pauseMs, signal, this.#options.news)
    }
  }

  /** Resolves once one node is connected; rejects when none can be, with what the last one failed with. */
  async first(timeoutMs: number, given: AbortSignal | undefined): Promise<void> {
    const { routes, pool, clock, hedgeAfterMs } = this.#options
    const signal = this.#signal(given)
    try {
      await inTurn(routes.addresses, {
        clock,
        hedgeMs: Math.min(hedgeAfterMs, CONNECT_HEDGE_MS),
        signal,
        isFinal: () => signal.aborted,
        start: (address, both) => this.#connection(address, timeoutMs, both),
      })
    } catch (error) {
      if (given?.aborted === true)
        throw new UnderstudyError('ABORTED', 'Connecting was aborted; nothing was asked.', {
          cause: given.reason,
        })
      const tries = new Tries('connection')
      for (const [address, failure] of pool.failures) tries.add(address, failure)
      throw routes.addresses.length === 1 ? unwrapped(error) : tries.none(unwrapped(error))
    }
  }

  /** The connection of a node that a read would go to first, or of the leader. */
  nodeFor(prefer: Preference, timeoutMs: number, signal: AbortSignal | undefined): Promise<NodeClient> {
    return this.read((node) => Promise.resolve(node), { timeoutMs, signal, prefer })
  }

  #target(nowMs: number, tried: Set<string>, asked: LeaderCall, isAsked: boolean): string | undefined {
    const { routes } = this.#options
    const found = routes.forWrite(nowMs, tried)
    if (found !== undefined || !asked.isForwardable || !isAsked) return found
    // The leader cannot be reached from here, or nobody knows it; a follower may reach it.
    return routes.forForwarding(nowMs, tried)
  }

  async #attempt<R>(address: string, leftMs: number, run: Run<R>, signal: AbortSignal): Promise<R> {
    const { epochs, clock, pool, hedgeAfterMs } = this.#options
    const abandoned = new AbortController()
    let name = this.#options.routes.nameOf(address)
    // What the node itself says of a higher epoch comes with its answer.
    const unwatch = epochs.watch((from) => {
      if (from !== name) abandoned.abort()
    })
    const suspect = clock.schedule(hedgeAfterMs, () => void pool.askAll())
    const both = AbortSignal.any([signal, abandoned.signal])
    try {
      const node = await this.#connection(address, leftMs, both)
      name = node.node
      return await run(node, { timeoutMs: leftMs, signal: both, waitMs: leftMs })
    } catch (error) {
      if (signal.aborted || !abandoned.signal.aborted || !isUnderstudyError(error, 'ABORTED')) throw error
      throw new UnderstudyError(
        'OUTCOME_UNKNOWN',
        `${address} did not answer before another node was promoted. What it was sent may be done or not.`,
        { cause: error },
      )
    } finally {
      unwatch()
      suspect.cancel()
    }
  }

  async #readFrom<R>(address: string, run: Run<R>, call: NodeCall): Promise<R> {
    return run(await this.#connection(address, call.timeoutMs, call.signal), call)
  }

  async #connection(address: string, leftMs: number, signal: AbortSignal): Promise<NodeClient> {
    const { pool, clock } = this.#options
    const open = pool.existing(address)
    if (open !== undefined) return open
    const errors = {
      late: () => new UnderstudyError('CONNECT_FAILED', `No connection to ${address} came in time.`),
      aborted: () =>
        new UnderstudyError('CONNECT_FAILED', `The connection to ${address} is not waited for any more.`),
    }
    try {
      return await within(clock, pool.get(address), leftMs, errors, signal)
    } catch (error) {
      throw new Unreached(error)
    }
  }

  /** Throws what the caller is to know; returns when the call may be made again. */
  async #judge(
    address: string,
    caught: unknown,
    asked: LeaderCall,
    tries: Tries,
    signal: AbortSignal,
  ): Promise<void> {
    const { routes, pool, clock } = this.#options
    if (caught instanceof Unreached) return tries.add(address, caught.reason)
    const error: unknown = caught
    const node = pool.existing(address)
    const outcome = asked.outcomeOf(error)
    if (outcome === 'answer' && !(await this.#mayBeUndone(error, address, asked))) throw error
    if (signal.aborted && isUnderstudyError(error, 'ABORTED')) throw error
    tries.add(address, error)
    if (outcome === 'later') return tries.later(address)
    if (isUnderstudyError(error, 'NOT_LEADER')) {
      const { leader } = error.details
      return routes.notLeader(address, typeof leader === 'string' ? leader : undefined)
    }
    if (outcome !== 'elsewhere') {
      if (!asked.isRepeatable) throw outcome === 'trouble' ? error : tries.unknown(error)
      tries.doubt(error)
      // Whoever leads now is to be found; a node that is in trouble says so itself.
      if (node === undefined) routes.failed(address, clock.monotonic())
    }
    routes.notLeader(address, undefined)
  }

  /** A leader stopped while a write waited for acks: the next one may have it, or not. One that leads on has said all there is to say. */
  async #mayBeUndone(error: unknown, address: string, { isRepeatable }: LeaderCall): Promise<boolean> {
    if (!isRepeatable || !isUnderstudyError(error, 'WRITTEN_NOT_ACKED')) return false
    const { routes, pool } = this.#options
    await pool.ask(address)
    return pool.existing(address) === undefined || routes.leader !== address
  }

  async #askAll(ms: number, signal: AbortSignal, tries: Tries): Promise<void> {
    const { clock, pool, news, routes } = this.#options
    const before = routes.leader
    const all = pool.askAll()
    const over = new AbortController()
    void all.then(() => over.abort())
    const both = AbortSignal.any([signal, over.signal])
    const dueMs = clock.monotonic() + ms
    // The first one who says that it leads is enough.
    while (
      !both.aborted &&
      clock.monotonic() < dueMs &&
      (routes.leader === undefined || routes.leader === before)
    )
      await pause(clock, dueMs - clock.monotonic(), both, news)
    for (const [address, error] of pool.failures) tries.add(address, error)
  }

  async #askFirst(timeoutMs: number, signal: AbortSignal, tries: Tries): Promise<void> {
    this.#hasAsked = true
    const { pool, routes, hedgeAfterMs, clock } = this.#options
    if (routes.addresses.every((address) => pool.existing(address) !== undefined)) return
    const over = new AbortController()
    void pool.askAll().then(() => over.abort())
    await pause(clock, Math.min(timeoutMs, hedgeAfterMs), AbortSignal.any([signal, over.signal]))
    for (const [address, error] of pool.failures) tries.add(address, error)
  }

  #measure(): void {
    const nowMs = this.#options.clock.monotonic()
    if (nowMs - this.#measuredAtMs < MEASURE_MS) return
    this.#measuredAtMs = nowMs
    void this.#options.pool.askAll()
  }

  #signal(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined ? this.#closed.signal : AbortSignal.any([this.#closed.signal, signal])
  }

  #stopped(tries: Tries, asked: LeaderCall | undefined): UnderstudyError {
    return tries.stopped(this.#closed.signal.aborted ? 'CLOSED' : 'ABORTED', asked?.isRepeatable === true)
  }
}

/** Time that a further try of a call needs at least. */
function spareMs(timeoutMs: number): number {
  return Math.min(SPARE_MS_MAX, timeoutMs * SPARE_SHARE)
}

/** There is no connection; nothing was sent. */
class Unreached extends Error {
  readonly reason: unknown
  constructor(reason: unknown) {
    super('unreached')
    this.reason = reason
  }
}

function unwrapped(error: unknown): unknown {
  return error instanceof Unreached ? error.reason : error
}

function isFinalForRead(error: unknown, signal: AbortSignal): boolean {
  if (signal.aborted) return true
  return !(error instanceof Unreached) && outcomeOfRead(error) === 'answer'
}
