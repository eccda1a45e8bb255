/**
 * Serving one follower: the thin driver of the sender's state machine.
 *
 * Decides: who is welcome (with handshake), whose slot holds the log back. Leaves to others: accepting connections and
 * reading their Hello, all followers together (followers), stopping to lead.
 */
import {
  UnderstudyError,
  formatPosition,
  isUnderstudyError,
  type Clock,
  type Log,
  type Lsn,
  type Timer,
} from '@understudy/contracts'
import {
  LIMITS,
  PROTOCOL_VERSION,
  PROTOCOL_VERSION_MIN,
  type Connection,
  type FormatVersion,
  type Heartbeat,
  type Hello,
  type SlotPosition,
} from '@understudy/protocol'
import type { MemberProgress, SyncState } from './ack-tracker.ts'
import { CommitAges } from './commit-ages.ts'
import { asFailure } from './failures.ts'
import { decideHandshake, type HandshakeDecision } from './handshake.ts'
import { LINK_LIMITS, withDefaults, type LinkLimits } from './limits.ts'
import {
  SenderMachine,
  type FollowerProgress,
  type FollowerState,
  type SenderAction,
  type SenderEvent,
} from './sender-machine.ts'
import { lagOf, type Lag } from './lag.ts'
import type { FollowerStanding } from './follower-watch.ts'
import { Ticker } from './ticker.ts'

/** The part of a `Connection` that replication uses. */
export type Link = Pick<Connection, 'remote' | 'start' | 'send' | 'pause' | 'resume' | 'close'> &
  Partial<Pick<Connection, 'flush'>>

export interface SenderContext {
  readonly log: Log
  readonly cluster: string
  /** Name of this node. */
  readonly node: string
  readonly clock: Clock
  /** Formats that records are written in. */
  readonly formats: readonly FormatVersion[]
  /** Why a follower with these formats cannot apply what is written now; `undefined` when it can. Default: it can. */
  readonly unfit?: (held: readonly FormatVersion[]) => string | undefined
  readonly highWatermark: () => Lsn
  readonly limits?: Partial<LinkLimits>
  /** A follower proved that this node must not lead: `LEADER_LOST_RECORDS` or `EPOCH_STALE`. */
  readonly onMustStopLeading: (error: UnderstudyError) => void
  /** How far a follower is by its acks, when that changed; `undefined` when its connection ended. */
  readonly onProgress?: (name: string, progress: MemberProgress | undefined) => void
  /**
   * What a follower says of its log when it connects counts for nothing before its first ack: it may have promised itself to another
   * leader meanwhile, and asks before each ack. Default false.
   */
  readonly onlyAcksCount?: boolean
  /** Whether writes wait for this follower's ack. Default: none does. */
  readonly isAwaited?: (name: string) => boolean
  /** For how long a follower may count on knowing every ceiling of ids, in milliseconds. Default: it may not. */
  readonly idsPromise?: (name: string) => number
  /** What a follower is to the ack rule. Default `async`. */
  readonly syncState?: (name: string) => SyncState
  /** A follower came, changed its state or went; for logs and status. */
  readonly onFollower?: (event: FollowerEvent) => void
}

/** What a session shares with the set it belongs to. */
export interface SessionHost {
  /** Since when what is durable here is. */
  readonly ages: CommitAges
  /** The follower is in another state. */
  readonly changed: () => void
  /** A heartbeat is over. */
  readonly ticked: () => void
  readonly closed: (error: UnderstudyError | undefined) => void
}

export type FollowerEvent =
  | { readonly kind: 'joined'; readonly name: string; readonly decision: HandshakeDecision }
  | { readonly kind: 'left'; readonly name: string; readonly error: UnderstudyError | undefined }
  | ({ readonly kind: 'changed' } & FollowerStanding)

export interface FollowerStatus extends Omit<FollowerProgress, 'applied' | 'stateSinceMs' | 'heardAtMs'> {
  readonly name: string
  readonly remote: string
  /** What it shows; `undefined` before it said so. */
  readonly applied: Lsn | undefined
  /** How far it is behind; `undefined` before it said what it has applied. */
  readonly lag: Lag | undefined
  /** Milliseconds since its last message; `undefined` before its first ack. */
  readonly heardMs: number | undefined
  /** Milliseconds since it is in this state. */
  readonly sinceMs: number
  /** What it is to the ack rule of the cluster. */
  readonly syncState: SyncState
}

/** One follower's connection. */
export interface FollowerSession {
  readonly name: string
  /** The formats that it said it has. */
  readonly formats: readonly FormatVersion[]
  status(): FollowerStatus
  standing(): FollowerStanding
  /** The leader's durable end or high watermark moved. `isAwaited`: writes wait for this follower's ack; default as the context says. */
  wake(isAwaited?: boolean): void
  close(error?: UnderstudyError): void
}

/**
 * Answers a Hello and, when records may flow, serves them until the connection ends. `undefined` when the follower was
 * sent away: refused, or told to truncate or bootstrap first.
 */
export function serveFollower(
  link: Link,
  hello: Hello,
  context: SenderContext,
  host: SessionHost = aloneHost(context),
): FollowerSession | undefined {
  const limits = withDefaults(LINK_LIMITS, context.limits)
  let decision = decide(hello, context)
  if (decision.kind === 'continue') decision = holdLog(hello, context, decision)
  context.onFollower?.({ kind: 'joined', name: hello.node, decision })
  if (decision.kind === 'refuse') {
    const newest = hello.history.at(-1)
    const seen = newest && { epoch: newest.number, runId: newest.runId }
    const error = new UnderstudyError(decision.code, decision.message, decision.mustStopLeading ? seen : {})
    link.close(error)
    if (decision.mustStopLeading) context.onMustStopLeading(error)
    return undefined
  }
  const { version, ...verdict } = decision
  const { log, cluster, node } = context
  link.send({
    type: 'welcome',
    version,
    cluster,
    node,
    history: log.history,
    end: log.end,
    verdict,
    heartbeatMs: limits.heartbeatMs,
    deadlineMs: limits.deadlineMs,
  })
  if (verdict.kind !== 'continue') {
    link.close()
    return undefined
  }
  return new SenderDriver(link, hello, verdict.from, context, limits, host)
}

/** Of a session that belongs to no set: of what is there already no age is known. */
function aloneHost({ log, clock }: SenderContext): SessionHost {
  const ages = new CommitAges(log.durable, clock.monotonic())
  return { ages, changed: () => undefined, ticked: () => undefined, closed: () => undefined }
}

function decide(hello: Hello, { log, cluster, node, formats, unfit }: SenderContext): HandshakeDecision {
  const view = {
    cluster,
    node,
    versionMin: PROTOCOL_VERSION_MIN,
    versionMax: PROTOCOL_VERSION,
    history: log.history,
    end: log.end,
    first: log.first,
    crcAt: (lsn: Lsn) => log.crcAt(lsn),
    formats,
    ...(unfit && { unfit }),
    slotLost: log.slots.get(hello.node)?.state === 'lost',
  }
  try {
    return decideHandshake(view, hello)
  } catch (error) {
    // The CRC at the follower's end is read from a file, which may be damaged there.
    const { code, message } = asFailure(error, 'LOG_FAILED', 'The log could not be read')
    return { kind: 'refuse', code, message, mustStopLeading: false }
  }
}

/** The slot is taken before the follower is told to go on, so that the log cannot be collected in between. */
function holdLog(
  hello: Hello,
  { log }: SenderContext,
  decision: HandshakeDecision & { kind: 'continue' },
): HandshakeDecision {
  try {
    log.slots.reserve(hello.node, decision.from - 1)
    return decision
  } catch (error) {
    if (isUnderstudyError(error, 'LOG_TRUNCATED')) {
      return { kind: 'snapshot', version: decision.version, reason: error.message }
    }
    const { code, message } = asFailure(error, 'LOG_FAILED', 'A retention slot could not be taken')
    return { kind: 'refuse', code, message, mustStopLeading: false }
  }
}

class SenderDriver implements FollowerSession {
  readonly name: string
  readonly formats: readonly FormatVersion[]
  readonly #link: Link
  readonly #context: SenderContext
  readonly #machine: SenderMachine
  readonly #host: SessionHost
  readonly #ticker: Ticker
  #wait: Timer | undefined
  #isOpen = true
  #reported = -1
  #state: FollowerState | undefined

  constructor(
    link: Link,
    { node: name, formats }: Hello,
    from: Lsn,
    context: SenderContext,
    limits: LinkLimits,
    host: SessionHost,
  ) {
    const { log, clock } = context
    this.name = name
    this.formats = formats
    this.#link = link
    this.#context = context
    this.#host = host
    this.#machine = new SenderMachine({
      ...limits,
      epoch: log.history.at(-1)?.number ?? 0,
      from,
      durable: log.durable,
      highWatermark: context.highWatermark(),
      nowMs: clock.monotonic(),
    })
    this.#ticker = new Ticker(clock, limits.heartbeatMs, () => {
      this.#step({ kind: 'tick' })
      host.ticked()
    })
    link.start({
      message: (message) => this.#step({ kind: 'message', message }),
      drained: () => this.#step({ kind: 'writable' }),
      closed: (error) => {
        this.#end()
        context.onFollower?.({ kind: 'left', name, error })
        host.closed(error)
      },
    })
    this.#step({ kind: 'tick' })
  }

  status(): FollowerStatus {
    const { log, clock } = this.#context
    const { applied, stateSinceMs, heardAtMs, ...progress } = this.#machine.progress()
    const nowMs = clock.monotonic()
    const isHeard = heardAtMs !== undefined
    return {
      ...this.standing(),
      remote: this.#link.remote,
      ...progress,
      applied: isHeard ? applied : undefined,
      lag: isHeard ? lagOf(log, this.#host.ages, applied, nowMs) : undefined,
      heardMs: isHeard ? nowMs - heardAtMs : undefined,
      sinceMs: nowMs - stateSinceMs,
    }
  }

  standing(): FollowerStanding {
    const { name } = this
    const { state } = this.#machine.progress()
    return { name, state, syncState: this.#context.syncState?.(name) ?? 'async' }
  }

  wake(isAwaited: boolean = this.#context.isAwaited?.(this.name) === true): void {
    const { log, highWatermark } = this.#context
    this.#step({ kind: 'progress', durable: log.durable, highWatermark: highWatermark(), isAwaited })
    if (isAwaited) this.#link.flush?.()
  }

  close(error?: UnderstudyError): void {
    this.#end()
    this.#link.close(error)
  }

  #end(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#ticker.stop()
    this.#wait?.cancel()
    this.#context.onProgress?.(this.name, undefined)
  }

  /** Only of the connection that stands: an older one of the same name has ended before. */
  #report(): void {
    if (!this.#isOpen || this.#reported === this.#machine.changes) return
    this.#reported = this.#machine.changes
    const { state, received, durable, applied, unackedBytes, heardAtMs } = this.#machine.progress()
    const streams = state === 'streaming'
    const isSaid = heardAtMs !== undefined || this.#context.onlyAcksCount !== true
    const acked = isSaid ? { received, durable, applied } : { received: 0, durable: 0, applied: 0 }
    this.#context.onProgress?.(this.name, { streams, ...acked, unackedBytes })
    if (state === this.#state) return
    this.#state = state
    this.#host.changed()
  }

  #step(event: SenderEvent): void {
    const { clock } = this.#context
    // Sending reports back into the machine, which may ask for more: a loop, so that the stack stays flat.
    let actions = this.#isOpen ? this.#machine.step(event, clock.monotonic()) : []
    while (actions.length > 0) {
      const following: SenderAction[] = []
      for (const action of actions) following.push(...this.#act(action))
      actions = following
    }
    this.#report()
  }

  #act(action: SenderAction): SenderAction[] {
    if (!this.#isOpen) return []
    switch (action.kind) {
      case 'send':
        return this.#send(action)
      case 'heartbeat':
        this.#link.send({ type: 'heartbeat', ...action.heartbeat, ...this.#promise(), slots: this.#slots() })
        return []
      case 'advanceSlot':
        return this.#guarded(() => this.#context.log.slots.advance(this.name, action.lsn))
      case 'wait':
        this.#wait = this.#context.clock.schedule(action.delayMs, () => this.#step({ kind: 'due' }))
        return []
      case 'close':
        break
    }
    this.close(action.error)
    if (action.mustStopLeading) this.#context.onMustStopLeading(action.error)
    return []
  }

  #send({ from, upTo, bytesMax, highWatermark }: Extract<SenderAction, { kind: 'send' }>): SenderAction[] {
    const { log, clock } = this.#context
    let following: SenderAction[] = []
    const failed = this.#guarded(() => {
      const records = log.read(from, { bytesMax, upTo })
      if (records === undefined) {
        throw new UnderstudyError(
          'LOG_CORRUPT',
          `The log does not return LSN ${from}, which it says is durable.`,
        )
      }
      const { bytes, last } = records
      const isWritable = this.#link.send({ type: 'records', highWatermark, bytes })
      following = this.#machine.step(
        { kind: 'sent', last, bytes: bytes.length, isWritable },
        clock.monotonic(),
      )
    })
    return failed.length > 0 ? failed : following
  }

  /** What the log refuses ends the connection; the follower learns from the next handshake what to do. */
  #guarded(run: () => void): SenderAction[] {
    try {
      run()
      return []
    } catch (error) {
      const known = asFailure(error, 'LOG_FAILED', `The log could not be read for follower ${this.name}`)
      const told =
        known.code === 'LOG_TRUNCATED' || known.code === 'SLOT_UNKNOWN'
          ? new UnderstudyError(
              'SNAPSHOT_REQUIRED',
              `The log no longer reaches back to ${formatPosition({ epoch: 0, lsn: this.#machine.progress().durable })}: ${known.message}`,
              { cause: known },
            )
          : known
      return [{ kind: 'close', error: told, mustStopLeading: false }]
    }
  }

  #promise(): Pick<Heartbeat, 'idsPromiseMs'> {
    const idsPromiseMs = this.#context.idsPromise?.(this.name) ?? 0
    return idsPromiseMs === 0 ? {} : { idsPromiseMs }
  }

  /** What this log is kept for; a slot that is lost keeps nothing. */
  #slots(): SlotPosition[] {
    const slots = this.#context.log.slots.list().filter(({ state }) => state !== 'lost')
    return slots.slice(0, LIMITS.slotsMax).map(({ name, lsn }) => ({ name, lsn }))
  }
}
