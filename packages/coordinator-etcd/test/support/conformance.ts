import { processClock } from '@understudy/coordination'
import { etcdCoordinator } from '@understudy/coordinator-etcd'
import { coordinatorSuite, type FaultyCoordinator } from '@understudy/testkit/suites/coordinator'
import { afterAll, beforeAll, describe } from 'vitest'
import { HAS_ETCD, startEtcd, WHY_SKIPPED, type EtcdCluster } from './etcd.ts'
import { startRelay, type Relay } from './relay.ts'

if (!HAS_ETCD) process.stderr.write(`skipped: ${WHY_SKIPPED}\n`)

/** The suite against a cluster of so many members. */
export function conformsWith(members: number): void {
  describe.skipIf(!HAS_ETCD)(`with ${members} members`, () => conforms(members))
}

function conforms(members: number): void {
  let etcd: EtcdCluster
  let count = 0

  beforeAll(async () => {
    etcd = await startEtcd({ members })
  }, 60_000)
  afterAll(() => etcd[Symbol.asyncDispose]())

  coordinatorSuite({
    name: `etcdCoordinator, ${members} members`,
    faults: ['refused', 'silent', 'unanswered', 'late'],
    async create() {
      const clock = processClock()
      const cluster = `test-${++count}`
      const relays: Relay[] = []
      return {
        clock,
        ttlMs: 600,
        open: async () => etcdCoordinator({ endpoints: etcd.endpoints, cluster, clock }),
        async openFaulty(): Promise<FaultyCoordinator> {
          const relay = await startRelay(etcd.endpoints[0]!)
          relays.push(relay)
          const coordinator = etcdCoordinator({ endpoints: [relay.url], cluster, clock, refreshMs: 200 })
          return { coordinator, begin: (fault) => relay.begin(fault), end: () => relay.end() }
        },
        async dispose() {
          await Promise.all(relays.map((relay) => relay[Symbol.asyncDispose]()))
        },
      }
    },
  })
}
