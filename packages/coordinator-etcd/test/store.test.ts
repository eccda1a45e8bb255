/** The steps of the store in etcd, by the suite of stores. */
import { coordinatorStoreSuite } from '@understudy/testkit/suites/coordinator-store'
import { afterAll, beforeAll, describe } from 'vitest'
import { EtcdClient } from '../src/client.ts'
import { settingsOf } from '../src/options.ts'
import { EtcdStore } from '../src/store.ts'
import { HAS_ETCD, startEtcd, WHY_SKIPPED, type EtcdCluster } from './support/etcd.ts'

if (!HAS_ETCD) process.stderr.write(`skipped: ${WHY_SKIPPED}\n`)

describe.skipIf(!HAS_ETCD)('one member', () => {
  let etcd: EtcdCluster
  let count = 0
  beforeAll(async () => {
    etcd = await startEtcd()
  })
  afterAll(() => etcd[Symbol.asyncDispose]())

  coordinatorStoreSuite({
    name: 'etcd',
    create() {
      const settings = settingsOf({ endpoints: etcd.endpoints, cluster: `c${++count}` })
      const recipe = { module: '', factory: '', options: undefined }
      return new EtcdStore(new EtcdClient(settings), settings, recipe)
    },
  })
})
