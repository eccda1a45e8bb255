/** `understudy start`: a node as a process of its own, until it is told to stop. */
import { Option, type Command } from 'commander'
import pc from 'picocolors'
import { UnderstudyError, formatPosition, isUnderstudyError } from '@understudy/contracts'
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
import { bytes, describeError, errorFields, json, type Output } from '../output.ts'
import { names, positive } from '../arguments.ts'
import { showDivergence } from '../divergence.ts'
import { allFormats, FORMAT_NAMES } from '../formats.ts'
import { openMonitor } from '../monitor.ts'

interface StartOptions extends AccessOptions {
  readonly name: string
  readonly directory: string
  readonly listen?: string
  readonly leader?: string
  readonly import?: string
  readonly sidecar?: string
  readonly format?: string
  readonly shadow?: string
  readonly profile?: Profile
  readonly members?: readonly string[]
  readonly acks?: string
  readonly onUnmet?: OnUnmet
  readonly ackTimeout?: number
  readonly replaceLeader?: boolean
  readonly rejoin?: boolean
  readonly snapshotRate?: number
  readonly slotBytesMax?: number
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
  addAckOptions(addAccessOptions(program.command('start')))
    .description('Run a node: a leader, or with --leader a follower. Ctrl-C stops it cleanly.')
    .requiredOption('--name <name>', 'name of the node, unique in its cluster')
    .requiredOption('--directory <path>', 'where the node keeps its data; made when missing')
    .option('--listen <address>', 'where followers and clients connect, such as tcp://127.0.0.1:7401')
    .option('--leader <address>', 'follow the leader at this address')
    .option('--import <file>', 'leader, first start only: adopt a copy of an existing database')
    .option(
      '--sidecar <file>',
      'leader: replicate this database, which another, unmodified program writes; with --format wal alone',
    )
    .option(
      '--rejoin',
      "follower: this directory was a leader's; what it alone has is kept as a lost tail, then undone",
    )
    .option('--replace-leader', "follower: this directory was a leader's and may be replaced by a snapshot")
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
      'answer operators here: /metrics for Prometheus, /health, /ready, /status, /events; such as http://127.0.0.1:9100',
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
    .addHelpText('after', EXAMPLES + ADDRESSES)
    .action(async (options: StartOptions) => runNode(options, context))
}

function addAckOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        '--profile <name>',
        'leader, in place of --acks: no-loss (more than half of the cluster has each write, or it waits), balanced (one follower has it, unless none answers), fast (the leader has it)',
      ).choices(PROFILES),
    )
    .addOption(
      new Option(
        '--members <names>',
        'leader, with --profile: the followers that count, such as b,c',
      ).argParser(names),
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
    await using node = await createNode(
      nodeOptions(
        options,
        stop.signal,
        (event) => {
          show(event)
          if (event.kind !== 'failed') return
          context.exitCode = 1
          failed.resolve()
        },
        (report) => showDivergence(report, context.output, options.json === true),
        monitor,
      ),
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

function nodeOptions(
  options: StartOptions,
  signal: AbortSignal,
  onEvent: (event: NodeEvent) => void,
  onDivergence: (report: DivergenceReport) => void,
  monitor: Monitor | undefined,
): NodeOptions {
  const { name, directory, listen, leader, replaceLeader, snapshotRate, slotBytesMax } = options
  const { credentials, tlsClientCertificates, insecure } = options
  const access = accessOf(options, {
    insecure: insecure === true,
    credentials: credentials !== undefined,
    tls: { ...(tlsClientCertificates !== undefined && { clientCertificates: tlsClientCertificates }) },
  })
  const formats = allFormats(onDivergence)
  const wanted = options.format ?? (options.sidecar === undefined ? 'row' : 'wal')
  const shadow = formats.find((format) => format.name === options.shadow)
  return {
    name,
    directory,
    role: leader === undefined ? 'leader' : 'follower',
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
    ...(options.import !== undefined && { importFrom: options.import }),
    ...(options.sidecar !== undefined && { sidecar: options.sidecar }),
    ...acksOf(options),
    ...(replaceLeader !== undefined && { replaceLeader }),
    ...(options.rejoin !== undefined && { rejoin: options.rejoin }),
    ...(snapshotRate !== undefined && { snapshotBytesPerSecondMax: snapshotRate }),
    ...(slotBytesMax !== undefined && { slotBytesMax }),
  }
}

/** What depends on a rule is refused without one: it would be ignored. */
function acksOf(options: StartOptions): Pick<NodeOptions, 'acks' | 'profile' | 'members'> {
  const { profile, members, acks, onUnmet, ackTimeout } = options
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
    output.out(`profile ${pc.bold(options.profile)}: ${describeProfile(options.profile, options.members)}`)
  const where = address === undefined ? '' : ` at ${pc.bold(address)}`
  output.out(
    `${pc.green('ready')} ${role} ${pc.bold(name)} of cluster ${cluster}${where}, position ${formatPosition(node.applied)}`,
  )
}

function showJson(output: Output): (event: NodeEvent) => void {
  return (event) => {
    const plain =
      'error' in event && event.error !== undefined ? { ...event, error: errorFields(event.error) } : event
    output.out(json(plain))
  }
}

function showText(output: Output): (event: NodeEvent) => void {
  let shownPercent = -10
  return (event) => {
    if (event.kind === 'snapshot') {
      const { receivedBytes, totalBytes, bytesPerSecond } = event.progress
      const percent = totalBytes === 0 ? 0 : Math.floor((100 * receivedBytes) / totalBytes)
      if (percent < shownPercent + 10 && percent !== 100) return
      shownPercent = percent === 100 ? -10 : percent
      output.out(`snapshot ${percent} % of ${bytes(totalBytes)}, ${bytes(bytesPerSecond)}/s`)
      return
    }
    const line = describeEvent(event)
    if (line !== undefined) output.out(line)
  }
}

function describeEvent(event: Exclude<NodeEvent, { kind: 'snapshot' }>): string | undefined {
  switch (event.kind) {
    case 'listening':
    case 'closed':
      return undefined
    case 'redo':
      return `redo: applied ${formatPosition(event.applied)} of ${event.upTo}`
    case 'leading':
      return event.redoneFrom.lsn === event.redoneTo.lsn
        ? `leads epoch ${event.epoch}`
        : `leads epoch ${event.epoch}, redone from ${formatPosition(event.redoneFrom)} to ${formatPosition(event.redoneTo)}`
    case 'lostTail':
      return `${pc.yellow('lost tail')} after ${event.common} through ${event.end} is kept in ${event.path}: see understudy lost-tail`
    case 'damaged':
      return `${pc.yellow(event.error.code)} ${event.error.message} The damaged data is kept; a snapshot of the leader replaces it.`
    case 'snapshotRetry':
      return `${pc.yellow(event.error.code)} ${event.error.message} Trying again in ${Math.round(event.delayMs)} ms.`
    case 'bootstrapped':
      return `snapshot complete at ${formatPosition(event.point)}: ${bytes(event.bytes)}, of which ${bytes(event.transferredBytes)} travelled`
    case 'state':
      return `${event.state}${event.error === undefined ? '' : `: ${pc.yellow(event.error.code)} ${event.error.message}`}`
    case 'followerJoined':
      return `follower ${event.name} connected: ${event.verdict}`
    case 'followerLeft':
      return `follower ${event.name} left${event.error === undefined ? '' : `: ${event.error.code}`}`
    case 'followerChanged':
      return `follower ${event.name} is ${event.state}${event.syncState === 'async' ? '' : `, ${event.syncState}`}`
    case 'followerForgotten':
      return `follower ${event.name} was forgotten`
    case 'slot':
      return describeSlot(event)
    case 'acks':
      return event.degraded
        ? `${pc.yellow('acks lowered')} to ${event.effective}: followers do not acknowledge`
        : `acks in force: ${event.effective}`
    case 'rebased':
      return `begins anew at ${formatPosition(event.point)}: followers make their files equal to this database`
    case 'stoppedLeading':
      return `${pc.yellow('leads no more')}: ${event.error.message}`
    case 'refused': {
      const { credential, reason } = event.error.details
      const more = [credential, reason].filter((each) => typeof each === 'string').join(': ')
      return `${event.remote} was turned away: ${event.error.code}${more === '' ? '' : ` (${more})`}`
    }
    case 'requestFailed':
      return `a request failed: ${describeError(event.error)}`
    case 'failed':
      return `${pc.red(event.error.code)} ${event.error.message}`
  }
}

function describeSlot({ name, state, lsn }: Extract<NodeEvent, { kind: 'slot' }>): string {
  if (state === 'lost') return `${pc.yellow('slot lost')}: ${name} must bootstrap again`
  if (state === 'unreserved')
    return `${pc.yellow('slot over its cap')}: the log after ${lsn} is not kept for ${name} any more`
  return `the log is kept for ${name} again`
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
