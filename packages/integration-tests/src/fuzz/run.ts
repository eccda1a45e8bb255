/**
 * One run: a position, a world of its own, some thousand frames. Seed and number decide everything in it, so that one that
 * breaks can be run again alone.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SeededRandom } from '@understudy/testkit'
import { answers } from './answers.ts'
import { tcpBytes, webSocketBytes } from './bytes.ts'
import { clients, compressed } from './clients.ts'
import { followersStream } from './followers-stream.ts'
import { leadersStream } from './leaders-stream.ts'
import type { Position } from './position.ts'
import { snapshotFollower, snapshotServer } from './snapshots.ts'
import { strangers } from './strangers.ts'
import { Breach, HANDLING_MS_MAX, Watch } from './watch.ts'

export const POSITIONS: readonly Position[] = [
  strangers,
  clients,
  compressed,
  leadersStream,
  followersStream,
  snapshotServer,
  snapshotFollower,
  answers,
  tcpBytes,
  webSocketBytes,
]

export interface RunOptions {
  readonly seed: number
  readonly run: number
  /** Default: that of the position. */
  readonly frames?: number | undefined
  /** Default: drawn. */
  readonly position?: Position | undefined
}

export interface Outcome {
  readonly position: string
  readonly frames: number
  readonly outcomes: ReadonlyMap<string, number>
  /** The longest time in which nothing else could run, pauses of the machine included. */
  readonly longestMs: number
  readonly breach: Breach | undefined
}

/** Which position a run is at. */
export function positionOf({ seed, run }: { readonly seed: number; readonly run: number }): Position {
  const random = new SeededRandom(`${seed}/${run}/position`)
  const chances = POSITIONS.map(({ weight, frames }) => weight / frames)
  let left = random.fraction() * chances.reduce((sum, chance) => sum + chance, 0)
  for (const [index, chance] of chances.entries()) {
    left -= chance
    if (left < 0) return POSITIONS[index] as Position
  }
  return strangers
}

export async function fuzzRun(options: RunOptions): Promise<Outcome> {
  const position = options.position ?? positionOf(options)
  const watch = new Watch()
  const folder = mkdtempSync(join(tmpdir(), 'understudy-fuzz-'))
  const prototypes = prototypeKeys()
  try {
    await position.run({
      random: new SeededRandom(`${options.seed}/${options.run}`),
      watch,
      framesMax: Math.min(position.frames, options.frames ?? Number.POSITIVE_INFINITY),
      folder,
    })
    checkPaths(folder, watch)
    if (prototypeKeys() !== prototypes) watch.fail('a prototype of the language was changed')
  } catch (error) {
    watch.fail(error instanceof Error ? error.message : String(error), error)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  const { frames, outcomes, longestMs, breach } = watch
  return { position: position.name, frames, outcomes, longestMs, breach }
}

/**
 * The longest handling of a run that was slow, told apart from a pause of the machine: an input that is slow is slow each
 * time.
 */
export async function repeatedLongestMs(options: RunOptions, times: number = 3): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (let n = 0; n < times && least > HANDLING_MS_MAX; n++) {
    globalThis.gc?.()
    least = Math.min(least, (await fuzzRun(options)).longestMs)
  }
  return least
}

/** What may stand in the folder of a run: names that the product made up itself. */
const NAMES = /^(a|s|[a-z]+(-[a-z]+)?(\.[a-z-]+)*|[0-9a-f]+(\.[a-z]+)?|[a-z]+-?[0-9]+(\.[a-z-]+)*)$/
/** Part of each name that frames carry as a path. */
const ESCAPE = 'understudy-fuzz-escape'

function checkPaths(folder: string, watch: Watch): void {
  for (const path of readdirSync(folder, { recursive: true, encoding: 'utf8' }))
    for (const name of path.split('/'))
      if (!NAMES.test(name) || name.includes(ESCAPE))
        watch.fail(`a file has the name ${JSON.stringify(path)}`)
  for (const outside of [tmpdir(), process.cwd()])
    if (existsSync(join(outside, ESCAPE))) watch.fail(`${ESCAPE} was made in ${outside}`)
}

function prototypeKeys(): string {
  return [Object.prototype, Array.prototype, Function.prototype, Uint8Array.prototype]
    .map((prototype) => Reflect.ownKeys(prototype).map(String).join())
    .join(' ')
}
