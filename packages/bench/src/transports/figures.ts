/**
 * The figures of the benchmark of transports: names, units, targets.
 *
 * Decides: what counts as met. Leaves to others: how a figure is measured (scenarios/).
 */
import type { FigureRule, Target } from '../figures.ts'
import type { FormatName } from '../formats.ts'
import type { WireName } from '../wire.ts'
import type { SizeName } from './kinds.ts'

const SPEED: Target = { atLeast: 0.8 }
const UNDISTURBED: Target = { atLeast: 0.9 }
const MEMORY: Target = { atMost: 16 }

const TCP_BESIDE = 'tcp, the worse direction, against a bare net socket'
const WS_BESIDE = 'ws, the worse direction, against bare ws'
const UNIX_BESIDE = 'unix against a bare net socket at a file'
const TLS_BESIDE = 'tls, the worse direction, against a bare TLS socket'
const WSS_BESIDE = 'wss against bare ws over TLS'
const DEFAULT = 'that a node by itself limits, against none'
const ALL = 'that all stay, against none'

export type TransportFigureName =
  | `${'tcpVsNet' | 'wsVsWs' | 'unixVsNet' | 'tlsVsTls' | 'wssVsWss'}${SizeName}`
  | `${WireName}${'HostileVsQuiet' | 'HostileAllVsQuiet' | 'IdleClientsVsQuiet' | 'StrangerKiB'}`
  | `${FormatName}${'Bytes' | 'ZstdBytes' | 'ZstdVsPlain'}`

/** In the order in which they are printed. */
export const TRANSPORT_FIGURES: Readonly<Record<TransportFigureName, FigureRule>> = {
  tcpVsNet100: ratio(`messages of 100 B, ${TCP_BESIDE}`),
  tcpVsNet1k: ratio(`messages of 1 KiB, ${TCP_BESIDE}`, SPEED),
  tcpVsNet64k: ratio(`messages of 64 KiB, ${TCP_BESIDE}`, SPEED),
  wsVsWs100: ratio(`messages of 100 B, ${WS_BESIDE}`),
  wsVsWs1k: ratio(`messages of 1 KiB, ${WS_BESIDE}`, SPEED),
  wsVsWs64k: ratio(`messages of 64 KiB, ${WS_BESIDE}`, SPEED),
  unixVsNet100: ratio(`messages of 100 B, ${UNIX_BESIDE}`),
  unixVsNet1k: ratio(`messages of 1 KiB, ${UNIX_BESIDE}`),
  unixVsNet64k: ratio(`messages of 64 KiB, ${UNIX_BESIDE}`),
  tlsVsTls100: ratio(`messages of 100 B, ${TLS_BESIDE}`),
  tlsVsTls1k: ratio(`messages of 1 KiB, ${TLS_BESIDE}`),
  tlsVsTls64k: ratio(`messages of 64 KiB, ${TLS_BESIDE}`),
  wssVsWss100: ratio(`messages of 100 B, ${WSS_BESIDE}`),
  wssVsWss1k: ratio(`messages of 1 KiB, ${WSS_BESIDE}`),
  wssVsWss64k: ratio(`messages of 64 KiB, ${WSS_BESIDE}`),
  tcpHostileVsQuiet: ratio(`commits/s over tcp with hostile connections ${DEFAULT}`, UNDISTURBED),
  tcpHostileAllVsQuiet: ratio(`commits/s over tcp with so many hostile connections ${ALL}`, UNDISTURBED),
  wsHostileVsQuiet: ratio(`commits/s over ws with hostile connections ${DEFAULT}`, UNDISTURBED),
  wsHostileAllVsQuiet: ratio(`commits/s over ws with so many hostile connections ${ALL}`, UNDISTURBED),
  tcpIdleClientsVsQuiet: ratio('commits/s over tcp with clients that ask nothing, against none', UNDISTURBED),
  wsIdleClientsVsQuiet: ratio('commits/s over ws with clients that ask nothing, against none', UNDISTURBED),
  tcpStrangerKiB: kibibytes('memory of the leader for each hostile connection, tcp', MEMORY),
  wsStrangerKiB: kibibytes('memory of the leader for each hostile connection, ws', MEMORY),
  rowBytes: bytes('row format, 64 writers: bytes on the connection for each commit'),
  rowZstdBytes: bytes('the same with compression'),
  rowZstdVsPlain: ratio('row format, 64 writers: commits/s with compression against without'),
  statementBytes: bytes('statement format, 64 writers: bytes on the connection for each commit'),
  statementZstdBytes: bytes('the same with compression'),
  statementZstdVsPlain: ratio('statement format, 64 writers: commits/s with compression against without'),
  walBytes: bytes('WAL format, 64 writers: bytes on the connection for each commit'),
  walZstdBytes: bytes('the same with compression'),
  walZstdVsPlain: ratio('WAL format, 64 writers: commits/s with compression against without'),
}

export const TRANSPORT_FIGURE_NAMES: readonly TransportFigureName[] = Object.keys(
  TRANSPORT_FIGURES,
) as TransportFigureName[]

/** What was measured; `null` for a figure that was left out. */
export type TransportFigureValues = Readonly<Record<TransportFigureName, number | null>>

/** Every figure, with `null` where nothing was measured. */
export function allTransportFigures(
  measured: Partial<Record<TransportFigureName, number>>,
): TransportFigureValues {
  return Object.fromEntries(
    TRANSPORT_FIGURE_NAMES.map((name) => [name, measured[name] ?? null]),
  ) as TransportFigureValues
}

function ratio(title: string, target?: Target): FigureRule {
  return { title, unit: 'x', digits: 2, ...(target && { target }) }
}

function kibibytes(title: string, target: Target): FigureRule {
  return { title, unit: 'KiB', digits: 1, target }
}

function bytes(title: string): FigureRule {
  return { title, unit: 'B', digits: 1 }
}
