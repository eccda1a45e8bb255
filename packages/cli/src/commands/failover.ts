/** `understudy failover`: how the members of a cluster stand, what they decided and why, automatic failover off and on. */
import type { Command } from 'commander'
import { UnderstudyError, isUnderstudyError } from '@understudy/contracts'
import type { NodeStatus } from '@understudy/node'
import { accessOf, addAccessOptions, ADDRESSES, type AccessOptions } from '../access.ts'
import { connectTo, withClients } from '../connections.ts'
import { describeFailover } from '../failover-report.ts'
import { errorFields, json } from '../output.ts'
import type { CommandContext } from '../program.ts'
import { addExplainCommand } from './failover-explain.ts'

interface Options extends AccessOptions {
  readonly json?: boolean
}

const EXAMPLES = `
Examples:
  $ understudy failover status tcp://127.0.0.1:7401
  $ understudy failover status tcp://127.0.0.1:7401 tcp://127.0.0.1:7402 --json
  $ understudy failover explain tcp://127.0.0.1:7402 --last 3
  $ understudy failover explain data/b
  $ understudy failover pause tcp://127.0.0.1:7401
  $ understudy failover resume tcp://127.0.0.1:7401

A leader is replaced by promote, or without a loss by switchover. A former leader rejoins by itself when it is started with --members; without
failover see rejoin.`

export function addFailoverCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('failover')
    .description('How a cluster fails over: status, decisions, pause and resume.')
    .addHelpText('after', EXAMPLES)
  addAccessOptions(command.command('status', { isDefault: true }))
    .description(
      'Who leads, what each member is and has, and what would happen if the leader died now. Exits with 1 when a node does not answer, has no failover, or knows no leader.',
    )
    .argument('<address...>', 'addresses of nodes')
    .option('--json', 'one JSON object')
    .addHelpText('after', EXAMPLES + ADDRESSES)
    .action((addresses: string[], options: Options) => status(addresses, options, context))
  addExplainCommand(command, context)
  for (const [name, paused] of [
    ['pause', true],
    ['resume', false],
  ] as const)
    addAccessOptions(command.command(name))
      .description(
        paused
          ? 'Nobody in the whole cluster is promoted automatically from now on. promote and switchover work.'
          : 'Automatic failover goes on.',
      )
      .argument('<address>', 'address of any node of the cluster')
      .option('--json', 'one JSON object')
      .addHelpText('after', EXAMPLES + ADDRESSES)
      .action(async (address: string, options: Options) => {
        await withClients([address], accessOf(options), ([client]) => client!.pauseFailover(paused))
        context.output.out(
          options.json === true
            ? json({ ok: true, paused })
            : `automatic failover is ${paused ? 'paused' : 'on'}`,
        )
      })
}

type Answer = { readonly address: string } & (
  | { readonly ok: true; readonly node: string; readonly failover: NonNullable<NodeStatus['failover']> }
  | { readonly ok: false; readonly error: { readonly code?: string; readonly message: string } }
)

async function status(
  addresses: readonly string[],
  options: Options,
  context: CommandContext,
): Promise<void> {
  const access = accessOf(options)
  const answers = await Promise.all(
    addresses.map(async (address): Promise<Answer> => {
      try {
        await using client = await connectTo(address, access)
        const { node, failover } = (await client.status()) as unknown as NodeStatus
        if (failover === undefined) throw withoutFailover(node)
        return { address, ok: true, node, failover }
      } catch (error) {
        if (!isUnderstudyError(error)) throw error
        return { address, ok: false, error: errorFields(error) }
      }
    }),
  )
  const ok = answers.every((answer) => answer.ok && answer.failover.leader !== undefined)
  if (!ok) context.exitCode = 1
  if (options.json === true) return context.output.out(json({ ok, nodes: answers }))
  for (const answer of answers)
    for (const line of answer.ok
      ? describeFailover(answer.node, answer.failover)
      : [`${answer.address}: ${answer.error.code ?? 'error'} ${answer.error.message}`])
      context.output.out(line)
}

function withoutFailover(node: string): UnderstudyError {
  return new UnderstudyError(
    'FAILOVER_REFUSED',
    `Node ${node} runs without failover: its role stays what it was started with. Nothing was changed. Start every node of the cluster with the same --members.`,
  )
}
