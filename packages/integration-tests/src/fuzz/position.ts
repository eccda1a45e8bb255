/** A place between two ends of Understudy where damaged frames can arrive. */
import type { SeededRandom } from '@understudy/testkit'
import type { Watch } from './watch.ts'

/** What one run gets. */
export interface RunContext {
  /** Decides everything that happens. */
  readonly random: SeededRandom
  readonly watch: Watch
  /** Frames after which the run ends. */
  readonly framesMax: number
  /** An empty folder for files of its own, which is removed with everything in it. */
  readonly folder: string
}

export interface Position {
  readonly name: string
  /** How often it is chosen, beside the others. */
  readonly weight: number
  /** Frames of one run: worlds that are dear to build are used for more. */
  readonly frames: number
  /** Builds a world of its own, sends frames, ends with an untouched conversation. Throws a `Breach`. */
  run(context: RunContext): Promise<void>
}
