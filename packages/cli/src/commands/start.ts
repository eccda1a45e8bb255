/** `understudy start`: a node as a process of its own, until it is told to stop. */
import { Option, type Command } from 'commander'
import pc from 'picocolors'
import { UnderstudyError, formatPosition, isUnderstudyError, type Coordinator } from '@understudy/contracts'
import type { DivergenceReport } from '@understudy/format-statement'
import {
  createNode,
  parsePolicy,
  type NodeEvent,
  type NodeOptions,
  PROFILES,
  describeProfile,
  type OnUnmet,
  type Profile,
  type UnderstudyNode,
} from '@understudy/node'
import type { Monitor } from '@understudy/monitor'
import { readGrants } from '@understudy/credentials'
import type { ClientCertificates } from '@understudy/sockets'
import { accessOf, addAccessOptions, ADDRESSES, authenticationOf, type AccessOptions } from '../access.ts'
import type { CommandContext } from '../program.ts'
import {
  addFailoverOptions,
  FAILOVER_EXAMPLES,
  failoverOf,
  hasFailover,
  membersOf,
  openCoordinator,
  type FailoverStartOptions,
} from '../failover-options.ts'
import { showJson, showText } from '../node-events.ts'
import { json, type Output } from '../output.ts'
import { positive, whole } from '../arguments.ts'
import { showDivergence } from '../divergence.ts'
import { allFormats, FORMAT_NAMES } from '../formats.ts'
import { openMonitor } from '../monitor.ts'

interface StartOptions extends AccessOptions, FailoverStartOptions {
  readonly name: string
  readonly directory: string
  readonly listen?: string
  readonly leader?: string
  readonly import?: string
  readonly sidecar?: string
  readonly format?: string
  readonly shadow?: string
  readonly profile?: Profile
  readonly acks?: string
  readonly onUnmet?: OnUnmet
  readonly ackTimeout?: number
  readonly replaceLeader?: boolean
  readonly rejoin?: boolean
  readonly forwardWrites?: boolean
  readonly snapshotRate?: number
  readonly slotBytesMax?: number
  readonly rewindBytesMax?: number
  readonly credentials?: string
  readonly tlsClientCertificates?: ClientCertificates
  readonly insecure?: boolean
  readonly monitor?: string
  readonly monitorInsecure?: boolean
  readonly untilInputEnds?: boolean
  readonly json?: boolean
}

const EXAMPLES = `
Examples:
  $ understudy start --name a --directory data/a --listen tcp://127.0.0.1:7401
  $ understudy start --name a --directory data/a --listen tcp://127.0.0.1:7401 --import existing.db
  $ understudy start --name a --directory data/a --listen tcp://127.0.0.1:7401 --format wal
  $ understudy start --name a --directory data/a --listen tcp://127.0.0.1:7401 --sidecar app.db
  $ understudy start --name a --directory data/a --listen tcp://127.0.0.1:7401 --profile no-loss --members b,c
  $ understudy start --name a --directory data/a --listen tcp://127.0.0.1:7401 --acks semi-sync:b,c
  $ understudy start --name a --directory data/a --listen tcp://127.0.0.1:7401 --acks 'any 1 (b, c) applied' --on-unmet fail
  $ understudy start --name b --directory data/b --listen tcp://127.0.0.1:7402 --leader tcp://127.0.0.1:7401
  $ understudy start --name b --directory data/b --leader tcp://127.0.0.1:7401 --monitor http://127.0.0.1:9100
  $ understudy start --name a --directory data/a --listen tls://0.0.0.0:7401 --tls-cert a.crt --tls-key a.key --credentials all.json
  $ understudy start --name b --directory data/b --leader tls://db-a.example:7401 --tls-ca ca.crt --credential b.json`

export function addStartCommand(program: Command, context: CommandContext): void {
  addFollowerOptions(addFailoverOptions(addAckOptions(addAccessOptions(program.command('start')))))
    .description(
      'Run a node: a leader, or with --leader a follower; with --members one that leads or follows as its cluster decides. Ctrl-C stops it cleanly.',
    )
    .requiredOption('--name <name>', 'name of the node, unique in its cluster')
    .requiredOption('--directory <path>', 'where the node keeps its data; made when missing')
    .option('--listen <address>', 'where followers and clients connect, such as tcp://127.0.0.1:7401')
    .option('--leader <address>', 'follow the leader at this address')
    .option('--import <file>', 'leader, first start only: adopt a copy of an existing database')
    .option(
      '--sidecar <file>',
      'leader: replicate this database, which another, unmodified program writes; with --format wal alone',
    )
    .addOption(
      new Option(
        '--format <name>',
        'leader: how writes are logged (default: row, with --sidecar wal)',
      ).choices(FORMAT_NAMES),
    )
    .addOption(
      new Option(
        '--shadow <name>',
        'leader: record this format too, unapplied, so that status compares sizes and speeds',
      ).choices(FORMAT_NAMES),
    )
    .addOption(
      new Option('--snapshot-rate <bytes>', 'limit of a bootstrap in bytes per second').argParser(positive),
    )
    .addOption(
      new Option(
        '--rewind-bytes-max <bytes>',
        'changes that stay undoable, so that rejoining needs no copy; 0: none (default 64 MiB)',
      ).argParser(whole),
    )
    .addOption(
      new Option('--slot-bytes-max <bytes>', 'bytes of log kept for a follower that is away').argParser(
        positive,
      ),
    )
    .option(
      '--credentials <file>',
      'whom this node lets in, for what; without it everybody, on this machine alone',
    )
    .addOption(
      new Option(
        '--tls-client-certificates <what>',
        'whether those who connect by TLS must show a certificate of --tls-ca (default: none)',
      ).choices(['none', 'request', 'require']),
    )
    .option(
      '--insecure',
      'listen where other machines can connect, without both TLS and authentication: whoever reaches the port may read and write everything',
    )
    .option(
      '--monitor <address>',
      'answer operators here: /metrics for Prometheus, /health, /ready, /leader, /follower, /status, /events; such as http://127.0.0.1:9100',
    )
    .option(
      '--monitor-insecure',
      'with --monitor: answer other machines too, without encryption or authentication',
    )
    .option(
      '--until-input-ends',
      'stop also when standard input ends, as it does when a parent process is gone',
    )
    .option('--json', 'one JSON object per event')
    .addHelpText('after', EXAMPLES + FAILOVER_EXAMPLES + ADDRESSES)
    .action(async (options: StartOptions) => runNode(options, context))
}

function addFollowerOptions(command: Command): Command {
  return command
    .option(
      '--forward-writes',
      'follower: send writes of clients on to the leader; the credential of this node needs the role write there',
    )
    .option(
      '--rejoin',
      "follower: this directory was a leader's; what it alone has is kept as a lost tail, then undone",
    )
    .option('--replace-leader', "follower: this directory was a leader's and may be replaced by a snapshot")
}

function addAckOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--profile <name>',
        'leader, in place of --acks: no-loss (more than half of the cluster has each write, or it waits), balanced (one follower has it, unless none answers), fast (the leader has it)',
      ).choices(PROFILES),
    )
    .option(
      '--acks <rule>',
      "leader: which followers must have a write: async (default), semi-sync:b,c, sync:b,c, or such as 'any 1 (b, c) durable'",
    )
    .addOption(
      new Option(
        '--on-unmet <what>',
        'leader, with --acks: what other writes do while followers do not acknowledge in time (default: block)',
      ).choices(['block', 'fail', 'degrade']),
    )
    .addOption(
      new Option(
        '--ack-timeout <ms>',
        'leader, with --acks: how long a write waits (default: 10000)',
      ).argParser(positive),
    )
}

async function runNode(options: StartOptions, context: CommandContext): Promise<void> {
  // Before the node: a bootstrap or a redo is what operators want to watch.
  await using monitor = await openMonitor(options.monitor, options.monitorInsecure === true)
  if (monitor !== undefined) announceMonitor(monitor, options, context.output)
  const stop = new AbortController()
  const onSignal = (): void => stop.abort()
  process.once('SIGINT', onSignal)
  process.once('SIGTERM', onSignal)
  if (options.untilInputEnds === true) process.stdin.once('close', onSignal).resume()
  const failed = Promise.withResolvers<void>()
  const show = options.json === true ? showJson(context.output) : showText(context.output)
  try {
    checkFailover(options)
    // The node closes it; where there is no node, it is closed here.
    await using coordinator = await openCoordinator(options)
    await using node = await createNode(
      nodeOptions(options, {
        signal: stop.signal,
        onEvent: (event) => {
          show(event)
          if (event.kind !== 'failed') return
          context.exitCode = 1
          failed.resolve()
        },
        onDivergence: (report) => showDivergence(report, context.output, options.json === true),
        monitor,
        coordinator,
      }),
    )
    announce(node, options, context.output)
    await Promise.race([failed.promise, aborted(stop.signal)])
  } catch (error) {
    if (!stop.signal.aborted) throw inWordsOfTheCommand(error)
  } finally {
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
    if (options.untilInputEnds === true) process.stdin.off('close', onSignal).destroy()
  }
  if (options.json === true) context.output.out(json({ kind: 'stopped' }))
  else context.output.out('stopped')
}

interface Around {
  readonly signal: AbortSignal
  readonly onEvent: (event: NodeEvent) => void
  readonly onDivergence: (report: DivergenceReport) => void
  readonly monitor: Monitor | undefined
  readonly coordinator: Coordinator | undefined
}

function nodeOptions(
  options: StartOptions,
  { signal, onEvent, onDivergence, monitor, coordinator }: Around,
): NodeOptions {
  const { name, directory, leader, replaceLeader, snapshotRate, slotBytesMax, rewindBytesMax } = options
  const { credentials, tlsClientCertificates, insecure } = options
  const access = accessOf(options, {
    insecure: insecure === true,
    credentials: credentials !== undefined,
    tls: { ...(tlsClientCertificates !== undefined && { clientCertificates: tlsClientCertificates }) },
  })
  const formats = allFormats(onDivergence)
  const failover = failoverOf(options, coordinator)
  const listen = options.listen ?? failover?.members.find((member) => member.name === name)?.address
  const wanted = options.format ?? (options.sidecar === undefined ? 'row' : 'wal')
  const shadow = formats.find((format) => format.name === options.shadow)
  return {
    name,
    directory,
    role: roleOf(options),
    format: formats.find(({ name: each }) => each === wanted) ?? formats[0],
    formats,
    transport: access.transport,
    ...authenticationOf(access, credentials !== undefined),
    ...(credentials !== undefined && { credentials: readGrants(credentials) }),
    signal,
    onEvent,
    ...(monitor !== undefined && { observe: monitor.observe }),
    ...(shadow !== undefined && { shadow }),
    ...(listen !== undefined && { listen }),
    ...(leader !== undefined && { leader }),
    ...(failover !== undefined && { failover }),
    ...(options.import !== undefined && { importFrom: options.import }),
    ...(options.sidecar !== undefined && { sidecar: options.sidecar }),
    ...acksOf(options),
    ...(replaceLeader !== undefined && { replaceLeader }),
    ...(options.rejoin !== undefined && { rejoin: options.rejoin }),
    ...(options.forwardWrites !== undefined && { forwardWrites: options.forwardWrites }),
    ...(snapshotRate !== undefined && { snapshotBytesPerSecondMax: snapshotRate }),
    ...(slotBytesMax !== undefined && { slotBytesMax }),
    ...(rewindBytesMax !== undefined && { rewindBytesMax }),
  }
}

function roleOf(options: StartOptions): NodeOptions['role'] {
  if (hasFailover(options)) return options.found === true ? 'leader' : 'follower'
  return options.leader === undefined ? 'leader' : 'follower'
}

/** What failover does by itself, or could not honour, is refused. Throws `INVALID_ARGUMENT`. */
function checkFailover(options: StartOptions): void {
  const members = membersOf(options)
  if (members === undefined) return
  const { leader, rejoin, found, name } = options
  const needless = leader !== undefined ? 'leader' : rejoin === true ? 'rejoin' : undefined
  if (needless !== undefined)
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `--${needless} is found out by the members among themselves. Nothing was started; remove it.`,
    )
  if (members.some((member) => member.name === name)) return
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `--members has no ${name}, which this node is called${found === true ? ' and is to found the cluster' : ''}. Nothing was started; name every node of the cluster, this one too.`,
  )
}

/** What depends on a rule is refused without one: it would be ignored. */
function acksOf(options: StartOptions): Pick<NodeOptions, 'acks' | 'profile' | 'members'> {
  const { profile, acks, onUnmet, ackTimeout } = options
  // With failover every other member counts.
  const others = membersOf(options)?.flatMap(({ name }) => (name === options.name ? [] : [name]))
  const members = others === undefined ? options.members : profile && others
  if (profile !== undefined && (onUnmet !== undefined || ackTimeout !== undefined))
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `--profile ${profile} decides what --on-unmet and --ack-timeout say. Nothing was started; remove them, or say all of it with --acks in place of --profile.`,
    )
  if (profile !== undefined || members !== undefined)
    return {
      ...(profile !== undefined && { profile }),
      ...(members !== undefined && { members }),
      ...(acks !== undefined && { acks: parsePolicy(acks) }),
    }
  if (acks === undefined) {
    if (onUnmet === undefined && ackTimeout === undefined) return {}
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      '--on-unmet and --ack-timeout say what happens when followers do not acknowledge, and without --acks none has to. Nothing was started; add --acks, or remove them.',
    )
  }
  const policy = parsePolicy(acks, {
    ...(onUnmet !== undefined && { onUnmet }),
    ...(ackTimeout !== undefined && { ackTimeoutMs: ackTimeout }),
  })
  return { acks: policy }
}

function announceMonitor({ address }: Monitor, { json: asJson }: StartOptions, output: Output): void {
  output.out(asJson === true ? json({ kind: 'monitor', address }) : `monitor at ${address}`)
}

function announce(node: UnderstudyNode, options: StartOptions, output: Output): void {
  const { name, role, cluster, address } = node
  if (options.json === true) {
    output.out(json({ kind: 'ready', name, role, cluster, address, position: formatPosition(node.applied) }))
    return
  }
  if (options.profile !== undefined)
    output.out(
      `profile ${pc.bold(options.profile)}: ${describeProfile(options.profile, acksOf(options).members)}`,
    )
  const where = address === undefined ? '' : ` at ${pc.bold(address)}`
  output.out(
    `${pc.green('ready')} ${role} ${pc.bold(name)} of ${cluster === '' ? 'no cluster yet' : `cluster ${cluster}`}${where}, position ${formatPosition(node.applied)}`,
  )
}

/** The transport speaks to programs; here the decision is an option. */
function inWordsOfTheCommand(error: unknown): unknown {
  if (!isUnderstudyError(error, 'INSECURE_ADDRESS')) return error
  return new UnderstudyError(
    'INSECURE_ADDRESS',
    'The address to listen on can be reached from other machines, and not everybody who connects would be both encrypted and authenticated. Nothing was opened; use tls:// or wss:// with --tls-cert, --tls-key and --credentials, listen on 127.0.0.1 or [::1], or pass --insecure on a network where every machine is trusted.',
    { cause: error },
  )
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
