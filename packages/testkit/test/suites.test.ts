import {
  memoryFormat,
  MemoryStorage,
  memoryTransport,
  SeededRandom,
  SimulatedClock,
  SimulatedDisk,
  SimulatedNetwork,
  type MemoryConnection,
  type MemoryTransaction,
} from '@understudy/testkit'
import { clockSuite } from '@understudy/testkit/suites/clock'
import { filesSuite } from '@understudy/testkit/suites/files'
import { storageSuite, type StorageUnderTest } from '@understudy/testkit/suites/storage'
import { transportSuite } from '@understudy/testkit/suites/transport'

clockSuite({
  name: 'SimulatedClock',
  create() {
    const clock = new SimulatedClock()
    return { clock, pass: (ms) => clock.advance(ms) }
  },
})

clockSuite({
  name: 'SimulatedClock, shuffled, through the view of a node',
  create() {
    const clock = new SimulatedClock({ shuffle: new SeededRandom(3) })
    return { clock: clock.view({ wallOffsetMs: -5000 }), pass: (ms) => clock.advance(ms) }
  },
})

filesSuite({
  name: 'SimulatedDisk',
  async create() {
    const disk = new SimulatedDisk({ random: new SeededRandom(4) })
    disk.makeDirectory('/data/node')
    disk.syncDirectory('/')
    disk.syncDirectory('/data')
    return {
      files: disk.mount(),
      directory: '/data/node',
      async crash() {
        disk.crash()
        return disk.mount()
      },
    }
  },
})

transportSuite({
  name: 'memoryTransport',
  create: async () => ({
    transport: memoryTransport(),
    listenAddress: 'memory://a:0',
    deadAddress: 'memory://nobody',
    perAddressLimit: false,
  }),
})

transportSuite({
  name: 'SimulatedNetwork',
  async create() {
    const clock = new SimulatedClock({ shuffle: new SeededRandom(5) })
    const network = new SimulatedNetwork({ clock, random: new SeededRandom(6) })
    const transport = network.transport('a', { clock: clock.view() })
    network.transport('silent')
    network.cut('silent', 'a')
    const driven = clock.drive()
    return {
      transport,
      listenAddress: 'sim://a:0',
      deadAddress: 'sim://a:9',
      silentAddress: 'sim://silent',
      async dispose() {
        driven[Symbol.dispose]()
      },
    }
  },
})

storageSuite({
  name: 'MemoryStorage',
  create: async () => memoryUnderTest(new MemoryStorage({ random: new SeededRandom(7) })),
})

function memoryUnderTest(storage: MemoryStorage): StorageUnderTest<MemoryConnection, MemoryTransaction> {
  return {
    storage,
    put: (tx, key, value) => tx.set(key, value),
    get: (tx, key) => tx.get(key),
    read: (key) => storage.get(key),
    recorder: () => memoryFormat().recorder(storage.connection),
    loseTransaction: (tx) => tx.lose(),
    foreignWrite: () => storage.foreignWrite('a', 'foreign'),
    crash: async () => memoryUnderTest(storage.crash()),
    openImage: async (image) => memoryUnderTest(MemoryStorage.fromImage(image)),
    dispose: () => storage.close(),
  }
}
