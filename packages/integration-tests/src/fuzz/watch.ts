/**
 * Watches one run: what was sent, how each connection ended, how long handling took, and what must not happen.
 *
 * Decides: what a breach is. Leaves to others: what is sent, whether the data stayed right.
 *
 * 1. An error that leaves a handler, or ends a connection, is an `UnderstudyError`; none of them hides a defect of the
 *    code (`TypeError` and its like), but for what the decoder's library throws of
 *    bytes that are cut.
 * 2. `longestMs` is the longest time in which nothing else could run.
 */
import { isUnderstudyError, type UnderstudyError } from '@understudy/contracts'

interface Beginning {
  readonly atMs: number
  readonly user: number
  readonly system: number
}

function beginning(): Beginning {
  const { user, system } = process.threadCpuUsage()
  return { atMs: performance.now(), user, system }
}

/** What was promised did not hold. */
export class Breach extends Error {}

const STUCK_MS = 2000
/** What V8 says of code that meets what it did not expect, and protobufjs of bytes never. */
const DEFECT = /is not a function|is not iterable|Cannot (read|set|access|convert)|is not defined|call stack/

/** The longest time that one frame may keep the thread, in milliseconds. */
export const HANDLING_MS_MAX = 50

export class Watch {
  /** Frames handed to the product that no sound peer would have sent there. */
  frames = 0
  longestMs = 0
  readonly outcomes: Map<string, number> = new Map()
  breach: Breach | undefined
  /** The last frames handled, newest last, for the report of a breach. */
  readonly #last: Uint8Array[] = []

  /** So many damaged, repeated or misplaced frames are on their way. */
  sent(frames: number = 1): void {
    this.frames += frames
  }

  /** Handles a frame; rethrows what that throws. */
  handling(frame: Uint8Array, run: () => void): void {
    if (this.#last.length >= 8) this.#last.shift()
    this.#last.push(frame)
    run()
  }

  /**
   * Lets every chain of promises finish, the handling of what was sent among them; what keeps the thread meanwhile is
   * noted. That is the processor time of this thread: others may use the machine.
   */
  async settle(turns: number = 1): Promise<void> {
    for (let turn = 0; turn < turns; turn++) {
      const begun = beginning()
      await new Promise<void>((resolve) => void setImmediate(resolve))
      this.#took(begun)
    }
    if (this.breach !== undefined) throw this.breach
  }

  /** Runs something of the product; the time counts as that of a frame. */
  timed(run: () => void): void {
    const begun = beginning()
    try {
      run()
    } finally {
      this.#took(begun)
    }
  }

  #took({ atMs, user, system }: Beginning): void {
    const wallMs = performance.now() - atMs
    if (wallMs <= this.longestMs) return
    const used = process.threadCpuUsage({ user, system })
    // Who waits for longer than this does not wait for the scheduler.
    const ms = wallMs > STUCK_MS ? wallMs : Math.min(wallMs, (used.user + used.system) / 1000)
    this.longestMs = Math.max(this.longestMs, ms)
  }

  note(outcome: string, count: number = 1): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + count)
  }

  /** A connection ended at one of its ends. */
  ended(error: UnderstudyError | undefined): void {
    this.note(error?.code ?? 'ended')
    if (error !== undefined) this.judge(error)
  }

  /** A frame handler threw. */
  escaped(error: unknown): void {
    this.judge(error)
    this.#break(`a frame handler threw ${String(error)}`, error)
  }

  /** Any error that the product told somebody. */
  judge(error: unknown): void {
    if (!isUnderstudyError(error)) return this.#break(`an error is not ours: ${String(error)}`, error)
    for (let at: unknown = error; at instanceof Error; at = at.cause) {
      const isDefect = at instanceof TypeError || at instanceof ReferenceError || at instanceof RangeError
      if (isDefect) this.#break(`${error.code} hides a defect: ${at.message}`, at)
      if (isUnderstudyError(at, 'PROTOCOL_VIOLATION')) return this.#judgeDecoder(at.cause)
    }
  }

  #judgeDecoder(cause: unknown): void {
    if (cause instanceof Error && DEFECT.test(cause.message))
      this.#break(`the decoder has a defect: ${cause.message}`, cause)
  }

  /** Notes the first breach. */
  fail(what: string, cause?: unknown): void {
    this.#break(what, cause)
  }

  /** Throws what was noted. */
  check(): void {
    if (this.breach !== undefined) throw this.breach
  }

  #break(what: string, cause: unknown): void {
    const frames = this.#last.map((frame) => Buffer.from(frame.subarray(0, 200)).toString('hex'))
    this.breach ??= new Breach(`${what}; last frames: ${frames.join(' ')}`, { cause })
  }
}
