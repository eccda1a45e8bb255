/** Connecting to a node as somebody: the transport's channel, then the proof of both ends, within one deadline. */
import type { Clock, Random, Transport } from '@understudy/contracts'
import { authenticateTo } from './authentication.ts'
import { Connection } from './connection.ts'
import type { Credential } from './credentials.ts'
import { LIMITS } from './limits.ts'

/** As whom to dial. */
export interface DialAs {
  readonly credential: Credential
  /** Offer to compress frames. Default false. */
  readonly compression?: boolean | undefined
  /** Off where a reverse proxy ends TLS, at both ends. Default true. */
  readonly channelBinding?: boolean | undefined
  readonly random: Random
}

export interface DialTarget {
  readonly transport: Transport
  readonly address: string
  readonly clock: Clock
  /** For connecting and authenticating together. */
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
  /** Longest frame of a peer that is trusted. */
  readonly frameBytesMax: number
  /** Absent: the node is expected to let everybody in, and is not asked to prove anything. */
  readonly as?: DialAs | undefined
}

/**
 * A connection on which the Hello is next. Rejects as `Transport.connect` and `authenticateTo` do, with nothing left open.
 */
export async function dial(target: DialTarget): Promise<Connection> {
  const { transport, address, clock, timeoutMs, frameBytesMax, as } = target
  const signal = target.signal === undefined ? {} : { signal: target.signal }
  const begun = clock.monotonic()
  const firstFrames = as === undefined ? frameBytesMax : LIMITS.helloBytesMax
  const channel = await transport.connect(address, { ...signal, timeoutMs, frameBytesMax: firstFrames })
  const connection = new Connection(channel, clock, { stranger: as !== undefined })
  if (as === undefined) return connection
  const { credential, random, compression = false, channelBinding = true } = as
  try {
    const leftMs = Math.max(0, timeoutMs - (clock.monotonic() - begun))
    await authenticateTo(connection, {
      credential,
      compression,
      channelBinding,
      random,
      clock,
      timeoutMs: leftMs,
      ...signal,
    })
  } catch (error) {
    connection.close()
    throw error
  }
  connection.frameBytesMax = frameBytesMax
  return connection
}
