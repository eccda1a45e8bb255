/** What is compared: each transport, and what a program would use in its place. */

/** Options choose by these; each is measured beside its bare counterpart. */
export const TRANSPORT_NAMES = ['tcp', 'unix', 'tls', 'ws', 'wss'] as const
export type TransportName = (typeof TRANSPORT_NAMES)[number]

/**
 * `dialled`: the receiver dials, which is the direction of replication. `accepted`: the receiver listens. With WebSocket
 * the two differ: whoever dialled masks every byte that it sends.
 */
export type Direction = 'dialled' | 'accepted'

export interface Kind {
  readonly transport: TransportName
  readonly bare: boolean
  readonly direction: Direction
}

export type KindName =
  | 'net'
  | 'tcpDialled'
  | 'tcpAccepted'
  | 'netUnix'
  | 'unix'
  | 'netTls'
  | 'tlsDialled'
  | 'tlsAccepted'
  | 'bareWs'
  | 'wsDialled'
  | 'bareWsMasked'
  | 'wsAccepted'
  | 'bareWss'
  | 'wss'

export const KINDS: Readonly<Record<KindName, Kind>> = {
  net: { transport: 'tcp', bare: true, direction: 'dialled' },
  tcpDialled: { transport: 'tcp', bare: false, direction: 'dialled' },
  tcpAccepted: { transport: 'tcp', bare: false, direction: 'accepted' },
  netUnix: { transport: 'unix', bare: true, direction: 'dialled' },
  unix: { transport: 'unix', bare: false, direction: 'dialled' },
  netTls: { transport: 'tls', bare: true, direction: 'dialled' },
  tlsDialled: { transport: 'tls', bare: false, direction: 'dialled' },
  tlsAccepted: { transport: 'tls', bare: false, direction: 'accepted' },
  bareWs: { transport: 'ws', bare: true, direction: 'dialled' },
  wsDialled: { transport: 'ws', bare: false, direction: 'dialled' },
  bareWsMasked: { transport: 'ws', bare: true, direction: 'accepted' },
  wsAccepted: { transport: 'ws', bare: false, direction: 'accepted' },
  bareWss: { transport: 'wss', bare: true, direction: 'dialled' },
  wss: { transport: 'wss', bare: false, direction: 'dialled' },
}

/** Measured next to each other, within the same seconds: the bare one first, then what is compared with it. */
export const GROUPS: readonly (readonly [KindName, ...KindName[]])[] = [
  ['net', 'tcpDialled', 'tcpAccepted'],
  ['netUnix', 'unix'],
  ['netTls', 'tlsDialled', 'tlsAccepted'],
  ['bareWs', 'wsDialled'],
  ['bareWsMasked', 'wsAccepted'],
  ['bareWss', 'wss'],
]

/** Bytes of a message, by the name that figures have for it. */
export const SIZES = { '100': 100, '1k': 1024, '64k': 65_536 } as const
export type SizeName = keyof typeof SIZES
export const SIZE_NAMES: readonly SizeName[] = ['100', '1k', '64k']
