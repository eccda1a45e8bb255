/** `understudy acks`: which followers must have a write, and another rule for it while the leader runs. */
import { Option, type Command } from 'commander'
import { UnderstudyError, formatPosition } from '@understudy/contracts'
import type { NodeStatus } from '@understudy/node'
import { accessOf, addAccessOptions, ADDRESSES, type AccessOptions } from '../access.ts'
import { describeAcks } from '../ack-report.ts'
import { positive } from '../arguments.ts'
import { withClients } from '../connections.ts'
import { json, table } from '../output.ts'
import type { CommandContext } from '../program.ts'

interface SetOptions extends AccessOptions {
  readonly onUnmet?: string
  readonly visibility?: string
  readonly ackTimeout?: number
  readonly acceptLoss?: boolean
  readonly json?: boolean
}

/** A change waits for acks as long as a write does, which the policy of the node says; so long the answer is waited for. */
const ANSWER_MS = 60_000

const EXAMPLES = `
Rules: async, semi-sync:b,c (the first of them that streams), sync:b,c (all of them), or such as 'any 1 (b, c) durable' and
'first 2 (b, c, d) applied'. What is not given stays as it is.

While the rule changes, every write needs the acks of the old rule and of the new one: the old one ends when members of both have the
record of the change. It is refused when too few members of one of them are connected. A member that will not come back keeps the old
rule from ending: --accept-loss ends it without its acks, and what waits for them.

Examples:
  $ understudy acks show tcp://127.0.0.1:7401
  $ understudy acks set tcp://127.0.0.1:7401 'any 1 (b, c) durable'
  $ understudy acks set tcp://127.0.0.1:7401 semi-sync:b,c --on-unmet degrade --json
  $ understudy acks set tcp://127.0.0.1:7401 'any 1 (c)' --accept-loss`

export function addAcksCommand(program: Command, context: CommandContext): void {
  const acks = program
    .command('acks')
    .description('Show which followers must have a write, or change it without a stop.')
    .addHelpText('after', EXAMPLES + ADDRESSES)
  addAccessOptions(acks.command('show', { isDefault: true }))
    .description('The rule, what of it is in force, and what waits.')
    .argument('<address>', 'address of the leader')
    .option('--json', 'one JSON object')
    .addHelpText('after', EXAMPLES + ADDRESSES)
    .action((address: string, options: SetOptions) => show(address, options, context))
  addAccessOptions(acks.command('set'))
    .description('Another rule, or other settings of it, from now on.')
    .argument('<address>', 'address of the leader')
    .argument('<rule>', "such as 'any 1 (b, c) durable'")
    .addOption(
      new Option(
        '--on-unmet <what>',
        'what other writes do while followers do not acknowledge in time',
      ).choices(['block', 'fail', 'degrade']),
    )
    .addOption(
      new Option(
        '--visibility <who>',
        'acked: nobody sees a write before its acks; local: readers of the leader do',
      ).choices(['acked', 'local']),
    )
    .addOption(
      new Option('--ack-timeout <ms>', 'how long a write waits for acks, and this change').argParser(
        positive,
      ),
    )
    .option('--accept-loss', 'end the old rule, and what waits for it, without its acks')
    .option('--json', 'one JSON object')
    .addHelpText('after', EXAMPLES + ADDRESSES)
    .action((address: string, rule: string, options: SetOptions) => set(address, rule, options, context))
}

async function show(address: string, options: SetOptions, { output }: CommandContext): Promise<void> {
  const status = (await withClients([address], accessOf(options), ([client]) =>
    client!.status(),
  )) as unknown as NodeStatus
  const { acks, node, followers } = status
  if (acks === undefined)
    throw new UnderstudyError(
      'NOT_LEADER',
      `Node ${node} does not lead, so that nobody acknowledges its writes. Ask the leader${status.following?.leader === undefined ? '' : ` at ${status.following.leader}`}.`,
    )
  if (options.json === true) {
    output.out(json({ ok: true, ...acks }))
    return
  }
  output.out(`acks of ${node}: ${describeAcks(acks)}`)
  const rows = (followers ?? []).map((each) => [each.name, each.syncState, each.state, each.durable])
  if (rows.length > 0) output.out(table(['follower', 'is', 'state', 'durable'], rows))
}

async function set(
  address: string,
  rule: string,
  options: SetOptions,
  { output }: CommandContext,
): Promise<void> {
  const { onUnmet, visibility, ackTimeout, acceptLoss } = options
  const position = await withClients([address], accessOf(options), ([client]) =>
    client!.setAcks(rule, {
      timeoutMs: ANSWER_MS + (ackTimeout ?? 0),
      ...(onUnmet !== undefined && { onUnmet }),
      ...(visibility !== undefined && { visibility }),
      ...(ackTimeout !== undefined && { ackTimeoutMs: ackTimeout }),
      ...(acceptLoss !== undefined && { acceptLoss }),
    }),
  )
  const at = formatPosition(position)
  output.out(
    options.json === true ? json({ ok: true, rule, position: at }) : `acks are ${rule} from ${at} on`,
  )
}
