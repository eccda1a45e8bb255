/** Clusters that fail over by themselves: how their nodes are started, and what tests of them ask. */
import { join } from 'node:path'
import {
  ProcessCluster,
  understudyStart,
  type ClusterOptions,
  type NodeView,
  type StartNode,
} from './cluster.ts'
import { EtcdServer } from './etcd.ts'
import { namespacesMissing } from './namespaces.ts'
import type { FaultNetwork } from './network.ts'

export interface FailoverPlan extends Omit<ClusterOptions, 'kind' | 'start' | 'more' | 'before'> {
  readonly kind?: FaultNetwork['kind']
  /** Default `sqlite`: a file in the folder of the test, out of reach of cuts. */
  readonly coordinator?: 'sqlite' | 'etcd'
  /** Default: one of the others has each write. */
  readonly acks?: string
  /** Before the first node starts. */
  readonly before?: (folder: string) => void
  /** Bytes a second for a snapshot, by node. */
  readonly snapshotRates?: Readonly<Record<string, number>>
}

export interface FailoverCluster {
  readonly cluster: ProcessCluster
  readonly etcd: EtcdServer | undefined
}

const missing = namespacesMissing()

/** The network that tests of failover run on, and why it is not the better one. */
export const KIND: FaultNetwork['kind'] = missing === undefined ? 'namespaces' : 'proxies'
export const ON: string = missing === undefined ? 'in namespaces' : `behind proxies, as ${missing}`

/** Of the coordinators. */
export const LEASE_MS = { sqlite: 1000, etcd: 3000 }

const ETCD = 'etcd'

/** Three nodes by default, the first of which leads first. */
export async function openFailover(plan: FailoverPlan = {}): Promise<FailoverCluster> {
  const { kind = KIND, coordinator = 'sqlite', before, ...rest } = plan
  let etcd: EtcdServer | undefined
  const cluster = await ProcessCluster.open({
    ...rest,
    kind,
    start: memberStart(plan),
    more: coordinator === 'etcd' ? [ETCD] : [],
    before: async (network, folder) => {
      before?.(folder)
      if (coordinator !== 'etcd') return undefined
      etcd = new EtcdServer(network, ETCD, folder)
      await etcd.start()
      return etcd
    },
  })
  return { cluster, etcd }
}

function memberStart({ coordinator = 'sqlite', acks, snapshotRates = {} }: FailoverPlan): StartNode {
  return (context) => {
    const { name, names, folder, network, life } = context
    const members = names.map(
      (each) => `${each}=${each === name ? network.listenAddress(each) : network.address(name, each)}`,
    )
    const rate = snapshotRates[name]
    const by =
      coordinator === 'etcd'
        ? [`etcd:${etcdUrl(network, name, ETCD)}`, '--etcd-cluster', 'rig', '--etcd-insecure']
        : [`sqlite:${join(folder, 'coordinator.db')}`]
    const founds = name === names[0] && life === 1 ? ['--found'] : []
    const policy =
      acks === 'async'
        ? ['--acks', 'async', '--allow-async-failover']
        : ['--acks', acks ?? `any 1 (${names.join(', ')}) durable`, '--ack-timeout', '60000']
    const cluster = [
      '--members',
      members.join(','),
      '--lease-ms',
      String(LEASE_MS[coordinator]),
      '--coordinator',
    ]
    const snapshot = rate === undefined ? [] : ['--snapshot-rate', String(rate)]
    return understudyStart(context, ...cluster, ...by, ...founds, ...policy, ...snapshot)
  }
}

function etcdUrl(network: FaultNetwork, from: string, place: string): string {
  return network.address(from, place).replace('tcp://', 'http://')
}

/** Whether a node hears its coordinator. */
export function coordinatorReached({ failover }: NodeView): boolean {
  return (failover as { coordinator?: { reached?: boolean } } | undefined)?.coordinator?.reached === true
}
