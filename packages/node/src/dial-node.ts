/** Dials another node of the cluster, as whom the settings say. */
import { dial, type Connection } from '@understudy/protocol'
import { DIAL_TIMEOUT_MS, FRAME_BYTES_MAX, type Settings } from './options.ts'

export function dialNode(
  settings: Settings,
  address: string,
  signal: AbortSignal,
  timeoutMs: number = DIAL_TIMEOUT_MS,
): Promise<Connection> {
  const { transport, clock, random, credential, compression, channelBinding } = settings
  return dial({
    transport,
    address,
    clock,
    timeoutMs,
    signal,
    frameBytesMax: FRAME_BYTES_MAX,
    as: credential && { credential, compression, channelBinding, random },
  })
}
