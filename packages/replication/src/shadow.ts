/**
 * A second format beside the one in force: recorded and measured, never logged, so that the two can be compared on a
 * user's own writes.
 *
 * Decides: what is counted, when the shadow's payloads are taken. Leaves to others: the groups (commit-group), keeping
 * exceptions of the shadow's observers from the user (`watched`).
 *
 * Validity conditions:
 * 1. Whatever the shadow throws ends here. What the format in force throws passes through, and is thrown before the
 *    shadow is asked.
 * 2. A group counts once it is committed, on both sides or on none. One that the shadow could not record counts as
 *    refused, and none of its bytes and time on the shadow's side.
 * 3. A logical shadow's payloads are taken before COMMIT, a physical one's after it. Never are both formats physical:
 *    the pages of a transaction can be taken once.
 */
import {
  UnderstudyError,
  isUnderstudyError,
  type Clock,
  type LogFormat,
  type Recorder,
} from '@understudy/contracts'

/** Runs what an observer was told of. */
export type Around = (run: () => void) => void

export interface ShadowOptions<C> {
  readonly format: LogFormat<C>
  /**
   * A connection like the one given whose observers are called within `around`, which counts their time and, for the shadow, keeps
   * what they throw. Default: the connection itself; then observers must not throw, and their time is not counted.
   */
  readonly watched?: (connection: C, around: Around) => C
}

/** What one side did since the format in force began, or the node. */
export interface ShadowSide {
  readonly format: string
  /** Groups that were committed and recorded. */
  readonly groups: number
  /** Bytes of their payloads. */
  readonly bytes: number
  /** Time in the recorder: its calls, and what it did around each statement. */
  readonly ms: number
}

export interface ShadowReport extends ShadowSide {
  /** Groups that the format could not have carried. */
  readonly refused: number
  /** Why the last of them was refused. */
  readonly lastReason?: string
  /** The format in force. */
  readonly primary: ShadowSide
}

/** Why `shadow` cannot be recorded beside `format`; `undefined` when it can. */
export function shadowRefusal(
  format: LogFormat<never>,
  shadow: LogFormat<never>,
): UnderstudyError | undefined {
  const reason =
    shadow.id === format.id
      ? 'is the format in force itself'
      : shadow.physical === true && format.physical === true
        ? 'takes the pages of the file, as the format in force does'
        : undefined
  if (reason === undefined) return undefined
  return new UnderstudyError(
    'INVALID_ARGUMENT',
    `The shadow format ${shadow.name} ${reason}, so there is nothing to compare. Give another one, or none. Nothing was started.`,
  )
}

export interface ShadowRecorderOptions<C> {
  readonly connection: C
  readonly clock: Clock
  readonly format: LogFormat<C>
  readonly shadow: ShadowOptions<C>
}

class Side {
  readonly format: string
  groups = 0
  bytes = 0
  ms = 0
  // Of the open group:
  groupBytes = 0
  groupMs = 0

  constructor(format: string) {
    this.format = format
  }

  begin(): void {
    this.groupBytes = 0
    this.groupMs = 0
  }

  count(): void {
    this.groups += 1
    this.bytes += this.groupBytes
    this.ms += this.groupMs
  }

  report(): ShadowSide {
    const { format, groups, bytes, ms } = this
    return { format, groups, bytes, ms }
  }
}

/** The recorder of the format in force, which drives the shadow's beside its own. */
export class ShadowRecorder<C> implements Recorder {
  readonly #clock: Clock
  readonly #recorder: Recorder
  readonly #shadow: Recorder | undefined
  readonly #isPhysical: boolean
  readonly #shadowIsPhysical: boolean
  readonly #primarySide: Side
  readonly #shadowSide: Side
  /** Of a physical format in force only, as the pipeline asks for it. */
  readonly base?: () => Uint8Array
  #refused = 0
  #lastReason: string | undefined
  #isOpen = false
  /** Why the shadow cannot record the open group. */
  #fault: unknown
  #isFaulty = false

  /** Throws what the format in force throws. */
  constructor({ connection, clock, format, shadow }: ShadowRecorderOptions<C>) {
    this.#clock = clock
    this.#isPhysical = format.physical === true
    this.#shadowIsPhysical = shadow.format.physical === true
    this.#primarySide = new Side(format.name)
    this.#shadowSide = new Side(shadow.format.name)
    const watched = (around: Around): C => shadow.watched?.(connection, around) ?? connection
    const recorder = format.recorder(watched((run) => this.#time(this.#primarySide, run)))
    this.#recorder = recorder
    if (recorder.base !== undefined) this.base = () => this.#base()
    this.#shadow = this.#attempt(() =>
      shadow.format.recorder(
        watched((run) => this.#attempt(run)),
        { unapplied: true },
      ),
    )
  }

  get finishedFormat(): number | undefined {
    return this.#recorder.finishedFormat
  }

  beginGroup(): void {
    this.#isOpen = true
    this.#primarySide.begin()
    this.#shadowSide.begin()
    // Without a recorder every group is refused, for the reason why there is none.
    this.#isFaulty = this.#shadow === undefined
    this.#time(this.#primarySide, () => this.#recorder.beginGroup())
    this.#attempt(() => this.#shadow?.beginGroup())
  }

  beginWrite(): void {
    this.#time(this.#primarySide, () => this.#recorder.beginWrite())
    this.#attempt(() => this.#shadow?.beginWrite())
  }

  endWrite(): void {
    this.#time(this.#primarySide, () => this.#recorder.endWrite())
    this.#attempt(() => this.#shadow?.endWrite())
  }

  abandonWrite(): void {
    this.#time(this.#primarySide, () => this.#recorder.abandonWrite())
    this.#attempt(() => this.#shadow?.abandonWrite())
  }

  /** Asked of physical formats, before COMMIT. */
  changed(): boolean {
    const changed = this.#time(this.#primarySide, () => this.#recorder.changed?.() !== false)
    if (changed) this.#finishShadow()
    return changed
  }

  finishGroup(): readonly Uint8Array[] {
    const payloads = this.#time(this.#primarySide, () => this.#recorder.finishGroup())
    this.#primarySide.groupBytes += bytesOf(payloads)
    if (!this.#isPhysical && !this.#shadowIsPhysical && payloads.length > 0) this.#finishShadow()
    return payloads
  }

  abandonGroup(): void {
    this.#isOpen = false
    this.#time(this.#primarySide, () => this.#recorder.abandonGroup())
    this.#attempt(() => this.#shadow?.abandonGroup())
  }

  /** To be called after COMMIT, in the same turn: a group of writes counts now; of any other transaction nothing does. */
  committed(): void {
    if (this.#shadowIsPhysical) this.#finishShadow()
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#primarySide.count()
    if (!this.#isFaulty) {
      this.#shadowSide.count()
      return
    }
    this.#refused += 1
    this.#lastReason = describe(this.#fault)
  }

  close(): void {
    this.#recorder.close()
    this.#attempt(() => this.#shadow?.close())
  }

  report(): ShadowReport {
    return {
      ...this.#shadowSide.report(),
      refused: this.#refused,
      ...(this.#lastReason !== undefined && { lastReason: this.#lastReason }),
      primary: this.#primarySide.report(),
    }
  }

  #base(): Uint8Array {
    const base = this.#time(this.#primarySide, () => this.#recorder.base?.() as Uint8Array)
    this.#primarySide.groupBytes += base.length
    return base
  }

  #finishShadow(): void {
    const shadow = this.#shadow
    if (shadow === undefined) return
    this.#attempt(() => {
      const payloads = shadow.finishGroup()
      if (this.#shadowIsPhysical && payloads.length === 0) throw needsBase()
      this.#shadowSide.groupBytes += bytesOf(payloads)
    })
    // It may have stopped half-way, and begins afresh with the next group.
    if (this.#isFaulty) this.#attempt(() => shadow.abandonGroup())
  }

  #time<T>(side: Side, run: () => T): T {
    const startMs = this.#clock.monotonic()
    try {
      return run()
    } finally {
      side.groupMs += this.#clock.monotonic() - startMs
    }
  }

  /** Runs a call of the shadow; what it throws makes the group one that is refused, the first reason first. */
  #attempt<T>(run: () => T): T | undefined {
    try {
      return this.#time(this.#shadowSide, run)
    } catch (error) {
      if (!this.#isFaulty) this.#fault = error
      this.#isFaulty = true
      return undefined
    }
  }
}

function bytesOf(payloads: readonly Uint8Array[]): number {
  return payloads.reduce((sum, payload) => sum + payload.length, 0)
}

function needsBase(): Error {
  return new Error(
    'The changed pages were too many, or could not be told: followers would have been sent a delta of the file.',
  )
}

function describe(error: unknown): string {
  if (isUnderstudyError(error)) return `${error.code} ${error.message}`
  return error instanceof Error ? error.message : String(error)
}
