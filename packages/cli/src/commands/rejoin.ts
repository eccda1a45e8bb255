/** `understudy rejoin`: brings a stopped node back to the history of another leader, and ends. */
import { Option, type Command } from 'commander'
import pc from 'picocolors'
import { UnderstudyError, formatPosition } from '@understudy/contracts'
import { nodeFiles } from '@understudy/log'
import { createNode, readNodeState, type NodeEvent } from '@understudy/node'
import { accessOf, addAccessOptions, ADDRESSES, authenticationOf, type AccessOptions } from '../access.ts'
import { positive } from '../arguments.ts'
import { allFormats } from '../formats.ts'
import { bytes, json } from '../output.ts'
import type { CommandContext } from '../program.ts'

interface Options extends AccessOptions {
  readonly leader: string
  readonly timeout: number
  readonly json?: boolean
}

const EXAMPLES = `
What this node alone has is kept as a lost tail first (see understudy lost-tail), then undone. Where it cannot be undone change by change, the pages
that differ are fetched. The node must be stopped. A node that is started with --members does this by itself, and start --rejoin does it
and goes on as a follower.

Examples:
  $ understudy rejoin data/a --leader tcp://127.0.0.1:7402
  $ understudy rejoin data/a --leader tcp://127.0.0.1:7402 --json`

export function addRejoinCommand(program: Command, context: CommandContext): void {
  addAccessOptions(program.command('rejoin'))
    .description('Bring a stopped node, a former leader, back to the history of the leader of now; then end.')
    .argument('<directory>', "the node's directory")
    .requiredOption('--leader <address>', 'address of the leader of now')
    .addOption(
      new Option('--timeout <ms>', 'give up after so long; the next one goes on from there')
        .default(600_000)
        .argParser(positive),
    )
    .option('--json', 'one JSON object')
    .addHelpText('after', EXAMPLES + ADDRESSES)
    .action((directory: string, options: Options) => rejoin(directory, options, context))
}

async function rejoin(directory: string, options: Options, { output }: CommandContext): Promise<void> {
  const state = readNodeState(nodeFiles(), directory)
  if (state === undefined || state.generation === 0)
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `${directory} holds no data of a node. Nothing was changed; start an empty node as a follower.`,
    )
  const access = accessOf(options)
  const formats = allFormats()
  let lostTail: Extract<NodeEvent, { kind: 'lostTail' }> | undefined
  let fetched: number | undefined
  const streaming = Promise.withResolvers<void>()
  const onEvent = (event: NodeEvent): void => {
    if (event.kind === 'lostTail') lostTail = event
    else if (event.kind === 'bootstrapped') fetched = event.transferredBytes
    else if (event.kind === 'failed') streaming.reject(event.error)
    else if (event.kind === 'state' && event.state === 'streaming') streaming.resolve()
  }
  const signal = AbortSignal.timeout(options.timeout)
  signal.addEventListener('abort', () => streaming.reject(tooLate(options.timeout)), { once: true })
  streaming.promise.catch(() => {})
  await using node = await createNode({
    name: state.node,
    directory,
    role: 'follower',
    leader: options.leader,
    rejoin: true,
    format: formats[0],
    formats,
    transport: access.transport,
    ...authenticationOf(access),
    signal,
    onEvent,
  }).catch((error: unknown) => {
    throw signal.aborted ? tooLate(options.timeout) : error
  })
  await streaming.promise
  const position = formatPosition(node.applied)
  if (options.json === true) {
    const tail = lostTail && { path: lostTail.path, common: lostTail.common, end: lostTail.end }
    output.out(
      json({
        ok: true,
        node: state.node,
        cluster: node.cluster,
        position,
        ...(tail && { lostTail: tail }),
        ...(fetched !== undefined && { transferredBytes: fetched }),
      }),
    )
    return
  }
  if (lostTail !== undefined)
    output.out(
      `${pc.yellow('lost tail')} after ${lostTail.common} through ${lostTail.end} is kept in ${lostTail.path}: see understudy lost-tail`,
    )
  if (fetched !== undefined) output.out(`${bytes(fetched)} travelled`)
  output.out(`${pc.bold(state.node)} has the history of the leader, position ${position}`)
}

function tooLate(timeoutMs: number): UnderstudyError {
  return new UnderstudyError(
    'TIMEOUT',
    `The node did not come to stream from the leader within ${timeoutMs} ms. What it has is kept, and the next try goes on from there.`,
  )
}
