/** Every option of the comparison with its default, in one place. */
import os from 'node:os'
import { UnderstudyError } from '@understudy/contracts'
import { chosen, positive } from '../choices.ts'
import { FORMAT_KIND, FORMAT_NAMES } from '../formats.ts'
import { isPath } from '../own-modules.ts'
import { ACKS_DEFAULT, ACK_NAMES } from '../acks/policies.ts'
import { CALLER_NAMES, WIRE_NAMES } from '../subjects/understudy.ts'
import { WORKLOAD_NAMES } from '../workloads/registry.ts'

export const MEASURES = ['bytes', 'resources', 'lag', 'staleness', 'bootstrap', 'catchup'] as const
export type Measure = (typeof MEASURES)[number]

export interface MatrixOptions {
  /** Log formats; of this and the next two, names or paths of modules that export `format`, `transport` or `acks`: functions that make one. Default all. */
  readonly format?: readonly string[]
  /** `tcp`, `ws`. Default both; `tcp` with `quick`. */
  readonly transport?: readonly string[]
  /** Ack policies. Default `async`, `semi-sync`, `sync`, `sync-applied`; the first two with `quick`. */
  readonly ack?: readonly string[]
  /** `client`: callers in a process of their own; `embedded`: in the leader's. Default `client`. */
  readonly callers?: readonly string[]
  /** Writers at once. Default 1, 16, 64 and 256; 1 and 64 with `quick`. */
  readonly writers?: readonly number[]
  /** Names, or paths of modules that export `workload`. Default all; `inserts` with `quick`. */
  readonly workload?: readonly string[]
  /** Peers beside Understudy. Default `sqlite`. `none` for none. */
  readonly peers?: readonly string[]
  /** Modules that export `subject`: peers of one's own. */
  readonly peer?: readonly string[]
  /** A SQLite database that the workloads begin with, in place of their own rows. It is only read. */
  readonly database?: string
  /** Rows to begin with, in place of each workload's own number. */
  readonly rows?: number
  /** Operations per second that arrive, in an open loop. Default: none, a closed loop. */
  readonly rate?: number
  /** Milliseconds that a relay adds to each round trip between the leader and its followers. Default 0: none, and no relay. */
  readonly roundTrip?: readonly number[]
  /** While something is measured nothing else runs on this machine (Linux, with the right to real-time scheduling). Keep `seconds` short. Default false. */
  readonly exclusive?: boolean
  /** What is measured beside rates and latencies. Default `bytes` and `resources`, with `lag` beside them in a `quick` run. */
  readonly measure?: readonly string[]
  /** The leader is killed under load, and what was acknowledged is looked for. Default false. */
  readonly killLeader?: boolean
  /** Default 5; 3 with `quick`. */
  readonly rounds?: number
  /** Of each measurement. Default 3; 0.5 with `quick`. */
  readonly seconds?: number
  /** Default: a third of `seconds`, and before the first round as much as `seconds`. */
  readonly warmUpSeconds?: number
  /** Default 2. */
  readonly followers?: number
  /** Instances at a time: they share the memory while they wait for their turn. Default 8. */
  readonly together?: number
  /** Of all random numbers. Default 1. */
  readonly seed?: number
  readonly quick?: boolean
  /** A folder on the disk to measure; a new one is made in it, and removed. Default: the system's temporary folder. */
  readonly directory?: string
}

export interface MatrixSettings {
  readonly formats: readonly string[]
  readonly transports: readonly string[]
  readonly acks: readonly string[]
  readonly callers: readonly string[]
  readonly writers: readonly number[]
  readonly workloads: readonly string[]
  readonly peers: readonly string[]
  readonly peerFiles: readonly string[]
  readonly database: string | undefined
  readonly rows: number | undefined
  readonly rate: number | undefined
  readonly roundTripsMs: readonly number[]
  readonly exclusive: boolean
  readonly measures: readonly Measure[]
  readonly killLeader: boolean
  readonly rounds: number
  readonly seconds: number
  readonly warmUpSeconds: number
  readonly followers: number
  readonly together: number
  readonly seed: number
  readonly quick: boolean
  readonly directory: string
}

const ONE = {
  transport: { one: 'transport', many: 'Transports' },
  ack: { one: 'ack policy', many: 'Ack policies' },
} as const
const CALLERS = { one: 'place of callers', many: 'Callers' } as const
const MEASURED = { one: 'measure', many: 'Measures' } as const

/** The options with defaults. Throws `INVALID_ARGUMENT`. Peers and workloads are looked up later. */
export function resolveMatrixOptions(options: MatrixOptions = {}): MatrixSettings {
  const quick = options.quick === true
  const seconds = positive('seconds', options.seconds ?? (quick ? 0.5 : 3))
  const or = <T>(given: readonly T[] | undefined, quickly: readonly T[], fully: readonly T[]): readonly T[] =>
    given !== undefined && given.length > 0 ? given : quick ? quickly : fully
  return {
    formats: namesOrOwn(options.format ?? FORMAT_NAMES, FORMAT_NAMES, FORMAT_KIND),
    transports: namesOrOwn(or(options.transport, ['tcp'], WIRE_NAMES), WIRE_NAMES, ONE.transport),
    acks: namesOrOwn(or(options.ack, ['async', 'semi-sync'], ACKS_DEFAULT), ACK_NAMES, ONE.ack),
    callers: chosen(or(options.callers, ['client'], ['client']), CALLER_NAMES, CALLERS),
    writers: or(options.writers, [1, 64], [1, 16, 64, 256]).map((writers) =>
      positive('writers', writers, true),
    ),
    workloads: or(options.workload, ['inserts'], WORKLOAD_NAMES),
    peers: peersOf(options.peers),
    peerFiles: options.peer ?? [],
    database: options.database,
    rows: options.rows === undefined ? undefined : positive('rows', options.rows, true),
    rate: options.rate === undefined ? undefined : positive('rate', options.rate),
    roundTripsMs: roundTripsOf(options.roundTrip),
    exclusive: options.exclusive === true,
    measures: chosen(
      or(options.measure, ['bytes', 'resources', 'lag'], ['bytes', 'resources']),
      MEASURES,
      MEASURED,
    ),
    killLeader: options.killLeader === true,
    rounds: positive('rounds', options.rounds ?? (quick ? 3 : 5), true),
    seconds,
    warmUpSeconds: options.warmUpSeconds ?? seconds / 3,
    followers: followersOf(options.followers ?? 2),
    together: positive('together', options.together ?? 8, true),
    seed: positive('seed', options.seed ?? 1, true),
    quick,
    directory: options.directory ?? os.tmpdir(),
  }
}

/** Known names in their order, then paths of modules of the user's own. */
function namesOrOwn(
  given: readonly string[],
  known: readonly string[],
  kind: { readonly one: string; readonly many: string },
): readonly string[] {
  const own = given.filter(isPath)
  const names = given.filter((name) => !isPath(name))
  return names.length === 0 && own.length > 0 ? own : [...chosen(names, known, kind), ...own]
}

function peersOf(given: readonly string[] | undefined): readonly string[] {
  if (given === undefined) return ['sqlite']
  return given.filter((name) => name !== 'none' && name !== '')
}

function followersOf(count: number): number {
  if (Number.isInteger(count) && count >= 0 && count <= 8) return count
  throw new UnderstudyError('INVALID_ARGUMENT', `followers is ${count}; give 0 to 8. Nothing was measured.`)
}

function roundTripsOf(given: readonly number[] = [0]): readonly number[] {
  if (given.length > 0 && given.every((each) => each >= 0 && Number.isFinite(each))) return given
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `roundTrip is ${given.join(', ')}; give milliseconds from 0. Nothing was measured.`,
  )
}
