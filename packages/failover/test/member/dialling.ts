/** A connection between simulated machines, as a node makes one. */
import type { Clock, Transport } from '@understudy/contracts'
import { dial, type Connection } from '@understudy/protocol'

export function connectionTo(
  transport: Transport,
  clock: Clock,
  address: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Connection> {
  return dial({ transport, address, clock, timeoutMs, signal, frameBytesMax: 1_048_576 })
}
