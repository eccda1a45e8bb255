/** Every option of the benchmark of transports with its default, in one place. */
import os from 'node:os'
import { chosen, positive, scenariosFor } from '../choices.ts'
import { FORMAT_KIND, FORMAT_NAMES, type FormatName } from '../formats.ts'
import { TRANSPORT_FIGURE_NAMES, type TransportFigureName } from './figures.ts'
import { TRANSPORT_NAMES, type TransportName } from './kinds.ts'

export type TransportScenarioName = 'throughput' | 'hostile' | 'compression'

/** In the order in which they run. */
export const TRANSPORT_SCENARIO_NAMES: readonly TransportScenarioName[] = [
  'throughput',
  'hostile',
  'compression',
]

export interface TransportOptions {
  /** Repetitions of each measurement, interleaved. Default 5. */
  readonly rounds?: number
  /** Length of each measurement of throughput and compression. Default 1. */
  readonly seconds?: number
  /** Length of each measurement beside hostile connections, which a node ends after 5 s. Default 6. */
  readonly hostileSeconds?: number
  /** Hostile connections, and clients that ask nothing. Default 1,000. */
  readonly strangers?: number
  /** Names of scenarios or figures; default all. A figure brings its whole scenario. */
  readonly only?: readonly string[]
  /** Transports that are measured; default all. Hostile connections come over `tcp` and `ws`; compression is measured over `tcp`, whatever is chosen. */
  readonly transport?: readonly string[]
  /** Log formats whose connections are compressed; default all. Everything else is measured on the row format. */
  readonly format?: readonly string[]
  /** A folder on the disk of leader and follower; a new one is made in it, and removed. Default: the system's temporary folder. */
  readonly directory?: string
}

export interface TransportSettings extends Required<Omit<TransportOptions, 'only' | 'transport' | 'format'>> {
  readonly scenarios: readonly TransportScenarioName[]
  readonly transports: readonly TransportName[]
  readonly formats: readonly FormatName[]
}

/** The options with defaults. Throws `INVALID_ARGUMENT`. */
export function resolveTransportOptions(options: TransportOptions = {}): TransportSettings {
  return {
    rounds: positive('rounds', options.rounds ?? 5, true),
    seconds: positive('seconds', options.seconds ?? 1),
    hostileSeconds: positive('hostileSeconds', options.hostileSeconds ?? 6),
    strangers: positive('strangers', options.strangers ?? 1000, true),
    directory: options.directory ?? os.tmpdir(),
    scenarios: scenariosFor(options.only, {
      scenarios: TRANSPORT_SCENARIO_NAMES,
      figures: TRANSPORT_FIGURE_NAMES,
      scenarioOf,
    }),
    transports: chosen(options.transport, TRANSPORT_NAMES, { one: 'transport', many: 'Transports' }),
    formats: chosen(options.format, FORMAT_NAMES, FORMAT_KIND),
  }
}

/** Which scenario measures a figure. */
export function scenarioOf(figure: TransportFigureName): TransportScenarioName {
  if (/Quiet$|KiB$/.test(figure)) return 'hostile'
  return /Bytes$|VsPlain$/.test(figure) ? 'compression' : 'throughput'
}
