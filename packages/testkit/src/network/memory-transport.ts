/**
 * A transport within one process, without simulated time: frames arrive on a later turn of the event loop.
 *
 * Give one and the same value to all nodes that are to meet.
 */
import type { Clock, Transport } from '@understudy/contracts'
import { SeededRandom } from '../random.ts'
import { HostTransport } from './host-transport.ts'
import { SimulatedNetwork } from './network.ts'

export interface MemoryTransportOptions {
  /** Bytes on their way or undelivered in one direction before the sender has to wait. Default 256 KiB. */
  readonly windowBytes?: number
  /** `send` returns false while more than this waits at the sender. Default 1 MiB. */
  readonly highMarkBytes?: number
}

/** Scheme `memory:`; every name (`memory://a`, `memory://a:0`) can be listened at. */
export function memoryTransport(options: MemoryTransportOptions = {}): Transport {
  const clock = turnClock()
  const network = new SimulatedNetwork({
    ...options,
    clock,
    random: new SeededRandom(0),
    latencyMs: 0,
    scheme: 'memory',
  })
  const host = network.host('memory-client')
  host.boot(clock)
  return new HostTransport(network, host, { anyName: true })
}

/** Real time, in which a call without delay comes on the next turn of the event loop. */
function turnClock(): Clock {
  return {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    schedule: (delayMs, run) => {
      if (delayMs > 0) {
        const timer = setTimeout(run, delayMs)
        return { cancel: () => clearTimeout(timer) }
      }
      const turn = setImmediate(run)
      return { cancel: () => clearImmediate(turn) }
    },
  }
}
