/**
 * How a cluster fails over, on the command line of `start`.
 *
 * Decides: how members and the coordinator are written, which options need which other ones. Leaves to others: what the values may be
 * (failover, the coordinators).
 *
 * An option that could not take effect is refused: nobody should believe in a protection that is not there.
 */
import { Option, type Command } from 'commander'
import { UnderstudyError, type Coordinator } from '@understudy/contracts'
import { etcdCoordinator, type EtcdCoordinatorOptions } from '@understudy/coordinator-etcd'
import { sqliteCoordinator } from '@understudy/coordinator-sqlite'
import type { FailoverOptions, MemberAddress } from '@understudy/node'
import { names, positive } from './arguments.ts'

export interface FailoverStartOptions {
  readonly members?: readonly string[]
  readonly found?: boolean
  readonly coordinator?: string
  readonly leaseMs?: number
  readonly heartbeatMs?: number
  readonly observe?: boolean
  readonly allowAsyncFailover?: boolean
  readonly etcdCluster?: string
  readonly etcdUser?: string
  readonly etcdPasswordFile?: string
  readonly etcdCa?: string
  readonly etcdCert?: string
  readonly etcdKey?: string
  readonly etcdInsecure?: boolean
}

export const FAILOVER_EXAMPLES = `
A cluster that fails over: the same --members and --coordinator on every node, and --found once, on the node that begins it.
  $ M='a=tcp://127.0.0.1:7401,b=tcp://127.0.0.1:7402,c=tcp://127.0.0.1:7403'
  $ understudy start --name a --directory data/a --members "$M" --coordinator sqlite:data/coordinator.db --found --profile no-loss
  $ understudy start --name b --directory data/b --members "$M" --coordinator sqlite:data/coordinator.db
  $ understudy start --name c --directory data/c --members "$M" --coordinator sqlite:data/coordinator.db
  $ understudy start … --members 'a=tcp://db-a:7401;priority=5,b=tcp://db-b:7401,c=tcp://db-c:7401;never' --coordinator manual
  $ understudy start … --coordinator etcd:https://etcd-1:2379,https://etcd-2:2379 --etcd-cluster orders --etcd-ca etcd-ca.pem`

/** With etcd a shorter lease is lost when etcd elects a leader of its own. */
const ETCD_LEASE_MS = 3000

export function addFailoverOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--members <list>',
        'failover: every node with its address, this one too, such as a=tcp://…,b=tcp://…;priority=5,c=tcp://…;never. Or, with --profile on a leader without failover: names of the followers that count, such as b,c',
      ).argParser(names),
    )
    .option('--found', 'failover, first start of the first node only: begins a new cluster and leads it')
    .option(
      '--coordinator <which>',
      'failover: manual (a person promotes; default), sqlite:/path/to/file (nodes of one machine), etcd:http://host:2379[,http://…]',
    )
    .addOption(
      new Option(
        '--lease-ms <ms>',
        'failover: a dead leader is replaced no sooner (default: 1000, with etcd 3000)',
      ).argParser(positive),
    )
    .addOption(
      new Option(
        '--heartbeat-ms <ms>',
        'failover: how often members tell each other how they are (default: 100)',
      ).argParser(positive),
    )
    .option('--observe', 'failover: decide, say what would be done, and do nothing')
    .option(
      '--allow-async-failover',
      'failover: replace a leader also where no follower had to have its writes; what may be lost is said',
    )
    .option('--etcd-cluster <name>', 'etcd: its keys begin with /understudy/<name>/')
    .option('--etcd-user <name>', 'etcd: user, where authentication is on')
    .option('--etcd-password-file <file>', 'etcd: file with the password of that user, mode 600')
    .option('--etcd-ca <file>', 'etcd: authorities that issued its certificates, PEM')
    .option('--etcd-cert <file>', 'etcd: own certificate, where etcd asks for one, PEM')
    .option('--etcd-key <file>', 'etcd: its private key, PEM, mode 600')
    .option('--etcd-insecure', 'etcd: use http:// to other machines too, unencrypted')
}

/** Whether the cluster fails over: its members have addresses. */
export function hasFailover({ members }: FailoverStartOptions): boolean {
  return members?.some((text) => text.includes('=')) === true
}

/** `undefined` without failover. Throws `INVALID_ARGUMENT` for what would be ignored. */
export function membersOf(options: FailoverStartOptions): readonly MemberAddress[] | undefined {
  if (hasFailover(options)) return options.members?.map(memberOf)
  const ignored = NEED_MEMBERS.find((option) => options[option] !== undefined)
  if (ignored === undefined) return undefined
  throw invalid(
    `--${dashed(ignored)} says how a cluster fails over, and this node is started without one`,
    'add --members a=tcp://…,b=tcp://… with every node of the cluster, or remove it',
  )
}

const NEED_MEMBERS = [
  'found',
  'coordinator',
  'leaseMs',
  'heartbeatMs',
  'observe',
  'allowAsyncFailover',
  'etcdCluster',
  'etcdUser',
  'etcdPasswordFile',
  'etcdCa',
  'etcdCert',
  'etcdKey',
  'etcdInsecure',
] as const

/** `name=address[;priority=n][;never]`. Throws `INVALID_ARGUMENT`. */
export function memberOf(text: string): MemberAddress {
  const [head = '', ...settings] = text.split(';').map((part) => part.trim())
  const at = head.indexOf('=')
  const name = head.slice(0, Math.max(at, 0)).trim()
  const address = head.slice(at + 1).trim()
  if (name === '' || address === '')
    throw invalid(`The member '${text}' has no name, or no address`, 'write such as a=tcp://10.0.0.1:7401')
  let member: MemberAddress = { name, address }
  for (const setting of settings) {
    const priority = /^priority=(-?\d{1,9})$/.exec(setting)?.[1]
    if (priority !== undefined) member = { ...member, priority: Number(priority) }
    else if (setting === 'never') member = { ...member, neverPromote: true }
    else
      throw invalid(
        `The member '${text}' has the setting '${setting}'`,
        'there are priority=<whole number> and never, behind semicolons',
      )
  }
  return member
}

/** The options of the node, from those of the command line; the coordinator is open. */
export function failoverOf(
  options: FailoverStartOptions,
  coordinator: Coordinator | undefined,
): FailoverOptions | undefined {
  const members = membersOf(options)
  if (members === undefined) return undefined
  const { leaseMs = isEtcd(options) ? ETCD_LEASE_MS : undefined, heartbeatMs } = options
  return {
    members,
    ...(coordinator && { coordinator }),
    ...(leaseMs !== undefined && { leaseMs }),
    ...(heartbeatMs !== undefined && { heartbeatMs }),
    ...(options.observe === true && { mode: 'observe' as const }),
    ...(options.allowAsyncFailover === true && { allowAsyncFailover: true }),
  }
}

/** `undefined`: a person promotes. Rejects as the coordinators do, and with `INVALID_ARGUMENT`. */
export async function openCoordinator(options: FailoverStartOptions): Promise<Coordinator | undefined> {
  const { coordinator = 'manual' } = options
  if (!isEtcd(options)) {
    const ignored = NEED_MEMBERS.find((option) => option.startsWith('etcd') && options[option] !== undefined)
    if (ignored !== undefined)
      throw invalid(
        `--${dashed(ignored)} is for etcd, and the coordinator is ${coordinator}`,
        'add --coordinator etcd:…, or remove it',
      )
  }
  if (coordinator === 'manual') return undefined
  const [, kind, place = ''] = /^(sqlite|etcd):(.+)$/.exec(coordinator) ?? []
  if (kind === 'sqlite') return sqliteCoordinator({ path: place })
  if (kind === 'etcd') return etcdCoordinator(etcdOf(place, options))
  throw invalid(
    `--coordinator is '${coordinator}'`,
    'give manual, sqlite:/path/to/file, or etcd:http://host:2379',
  )
}

function isEtcd({ coordinator }: FailoverStartOptions): boolean {
  return coordinator?.startsWith('etcd:') === true
}

/** Throws `INVALID_ARGUMENT`. */
export function etcdOf(place: string, options: FailoverStartOptions): EtcdCoordinatorOptions {
  const { etcdCluster, etcdUser, etcdPasswordFile, etcdCa, etcdCert, etcdKey, etcdInsecure } = options
  if (etcdCluster === undefined)
    throw invalid(
      'etcd keeps the state of many clusters, and --etcd-cluster does not say which is this one',
      'give the same name on every node',
    )
  if ((etcdUser === undefined) !== (etcdPasswordFile === undefined))
    throw invalid('--etcd-user and --etcd-password-file belong together', 'give both or none')
  const tls = {
    ...(etcdCa !== undefined && { ca: { file: etcdCa } }),
    ...(etcdCert !== undefined && { cert: { file: etcdCert } }),
    ...(etcdKey !== undefined && { key: { file: etcdKey } }),
  }
  return {
    endpoints: place.split(',').map((endpoint) => endpoint.trim()),
    cluster: etcdCluster,
    ...(etcdUser !== undefined &&
      etcdPasswordFile !== undefined && { user: { name: etcdUser, password: { file: etcdPasswordFile } } }),
    ...(Object.keys(tls).length > 0 && { tls }),
    ...(etcdInsecure === true && { insecure: true }),
  }
}

function dashed(option: string): string {
  return option.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

function invalid(what: string, advice: string): UnderstudyError {
  return new UnderstudyError('INVALID_ARGUMENT', `${what}. Nothing was started; ${advice}.`)
}
