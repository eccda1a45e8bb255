/** Run by `transport-suite-catches.test.ts`, in a vitest of its own: the suite on transports that are wrong, and on sound ones. */
import { memoryTransport } from '../../src/network/memory-transport.ts'
import { transportSuite } from '../../src/suites/transport.ts'
import { alteredTransport } from './altered-transport.ts'
import { BREACHES } from './breaches.ts'
import { rawStream, streamTransport } from './stream-transport.ts'

const SOUND = [
  { name: 'sound in memory', alterations: {} },
  { name: 'sound over sockets', faults: {} },
]

for (const { name, faults, alterations = {} } of [...SOUND, ...BREACHES]) {
  transportSuite({
    name,
    create: async () =>
      faults === undefined
        ? {
            transport: alteredTransport(memoryTransport(), alterations),
            listenAddress: 'memory://a:0',
            deadAddress: 'memory://nobody',
            perAddressLimit: false,
          }
        : {
            transport: streamTransport(faults),
            listenAddress: 'stream://127.0.0.1:0',
            deadAddress: 'stream://127.0.0.1:1',
            raw: rawStream(),
            tcpAddresses: true,
          },
  })
}
