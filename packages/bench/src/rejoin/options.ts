/** Every option of the benchmark of rejoining with its default, in one place. */
import os from 'node:os'
import { chosen, positive } from '../choices.ts'
import { TAIL_NAMES, type TailName } from './figures.ts'

export interface RejoinOptions {
  /** Size of the database. Default 1024. */
  readonly sizeMiB?: number
  /** Commits that the former leader alone has. Default 1,000. */
  readonly commits?: number
  /** Kinds of tails; default all. */
  readonly only?: readonly string[]
  /** A folder on the disk to measure; a new one is made in it, and removed. Default: the system's temporary folder. */
  readonly directory?: string
}

export interface RejoinSettings extends Required<Omit<RejoinOptions, 'only'>> {
  readonly tails: readonly TailName[]
  readonly scenarios: readonly 'rejoin'[]
}

/** The options with defaults. Throws `INVALID_ARGUMENT`. */
export function resolveRejoinOptions(options: RejoinOptions = {}): RejoinSettings {
  return {
    sizeMiB: positive('sizeMiB', options.sizeMiB ?? 1024, true),
    commits: positive('commits', options.commits ?? 1000, true),
    directory: options.directory ?? os.tmpdir(),
    tails: chosen(options.only, TAIL_NAMES, { one: 'kind of tail', many: 'Tails' }),
    scenarios: ['rejoin'],
  }
}
