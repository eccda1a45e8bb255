/** Opens a coordinator in a SQLite file. */
import { extname, resolve } from 'node:path'
import { systemRandom, UnderstudyError, type Clock, type Coordinator } from '@understudy/contracts'
import { coordinatorOn, processClock, unavailable } from '@understudy/coordination'
import { CoordinatorFile } from './database.ts'
import { isBusy, KIND, understood } from './failures.ts'
import { thisMachine, type Machine } from './machine.ts'
import { SqliteStore } from './store.ts'

/** Options of `sqliteCoordinator`, with their defaults. */
export interface SqliteCoordinatorOptions {
  /** The file, the same for all nodes of the cluster; made when it is missing. On a disk of this machine alone. */
  readonly path: string
  /** Milliseconds between two looks for changes, while somebody watches. Default 20. */
  readonly pollMs?: number
  /** A watch reads by itself when nothing changed for so long. Default 1,000. */
  readonly refreshMs?: number
  /** Milliseconds that opening waits for others who open it at the same time. Default 5,000. */
  readonly openMs?: number
  /** Default: `processClock`. */
  readonly clock?: Clock
  /** For tests. Default: this one. */
  readonly machine?: Machine
}

const RETRY_MS = 5

/**
 * A coordinator for the nodes of one machine. Rejects with `COORDINATOR_UNSUITABLE` (a file system that machines share, a
 * file of something else), `COORDINATOR_UNAVAILABLE`, `STATE_CORRUPT`, `UNSUPPORTED_RUNTIME`, `INVALID_ARGUMENT`.
 */
export async function sqliteCoordinator(options: SqliteCoordinatorOptions): Promise<Coordinator> {
  const { pollMs = 20, refreshMs = 1000, openMs = 5000 } = options
  if (typeof options.path !== 'string' || options.path === '' || !(pollMs >= 1) || !(refreshMs >= pollMs))
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `path must name a file, pollMs (${pollMs}) be at least 1, and refreshMs (${refreshMs}) at least pollMs. Nothing was opened.`,
    )
  const path = resolve(options.path)
  const clock = options.clock ?? processClock()
  const machine = options.machine ?? thisMachine()
  const file = await openFile(path, machine, clock, openMs)
  const recipe = {
    module: new URL(`./index${extname(import.meta.url)}`, import.meta.url).href,
    factory: sqliteCoordinator.name,
    options: { path, pollMs, refreshMs, openMs },
  }
  const store = new SqliteStore({ file, machine, clock, pollMs, recipe })
  return coordinatorOn(store, { clock, random: systemRandom(), refreshMs })
}

/** Nodes that start together make the file together, and one of them waits. */
async function openFile(
  path: string,
  machine: Machine,
  clock: Clock,
  openMs: number,
): Promise<CoordinatorFile> {
  const endMs = clock.monotonic() + openMs
  for (;;) {
    try {
      return new CoordinatorFile(path, machine)
    } catch (error) {
      if (!isBusy(error)) throw understood(error, path, false)
      if (clock.monotonic() >= endMs)
        throw unavailable(KIND, `somebody else has the lock of ${path} for ${openMs} ms`, error)
      await new Promise<void>((resolve) => {
        clock.schedule(RETRY_MS, resolve)
      })
    }
  }
}
