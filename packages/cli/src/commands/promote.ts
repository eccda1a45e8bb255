/** `understudy promote` and `understudy switchover`: a person says who leads. */
import { Option, type Command } from 'commander'
import pc from 'picocolors'
import type { ChangedLeader } from '@understudy/client'
import { formatPosition } from '@understudy/contracts'
import { accessOf, addAccessOptions, ADDRESSES, type AccessOptions } from '../access.ts'
import { positive } from '../arguments.ts'
import { withClients } from '../connections.ts'
import { duration } from '../followers.ts'
import { json } from '../output.ts'
import type { CommandContext } from '../program.ts'

interface Options extends AccessOptions {
  readonly acceptLoss?: boolean
  readonly timeout: number
  readonly json?: boolean
}

const TIMEOUT_MS = 10_000

const PROMOTE_EXAMPLES = `
Works without a coordinator, and with one. It is refused when acknowledged commits could be lost, or when too few members promise to
follow: the answer says who is missing. --accept-loss goes on without that proof, and says after which position commits may be lost.
Where the leader of now still works, take switchover.

Examples:
  $ understudy promote tcp://127.0.0.1:7402
  $ understudy promote tcp://127.0.0.1:7402 c --timeout 30000
  $ understudy promote tcp://127.0.0.1:7402 --accept-loss --json`

const SWITCHOVER_EXAMPLES = `
The leader holds writes back, waits until the other one has everything, and hands over; writes that wait go to the new leader or are told
that nothing was written. When it does not work in time the old leader goes on.

Examples:
  $ understudy switchover tcp://127.0.0.1:7401
  $ understudy switchover tcp://127.0.0.1:7401 b --timeout 2000 --json`

export function addPromoteCommand(program: Command, context: CommandContext): void {
  shared(program.command('promote'))
    .description(
      'Make a member of the cluster its leader: the node at the address, or the one that is named.',
    )
    .argument('<address>', 'address of any node of the cluster')
    .argument('[name]', 'who is to lead (default: the node at the address)')
    .option('--accept-loss', 'promote it even if acknowledged commits may be lost')
    .addHelpText('after', PROMOTE_EXAMPLES + ADDRESSES)
    .action(async (address: string, name: string | undefined, options: Options) => {
      const changed = await withClients([address], accessOf(options), ([client]) =>
        client!.promote({
          timeoutMs: options.timeout,
          ...(name !== undefined && { target: name }),
          ...(options.acceptLoss === true && { acceptLoss: true }),
        }),
      )
      show(changed, options, context)
    })
}

export function addSwitchoverCommand(program: Command, context: CommandContext): void {
  shared(program.command('switchover'))
    .description('Planned: the leader hands over to a follower. No write is lost, and the roles change.')
    .argument('<address>', 'address of the leader, or of a node that reaches it')
    .argument('[name]', 'who is to lead (default: the best follower)')
    .addHelpText('after', SWITCHOVER_EXAMPLES + ADDRESSES)
    .action(async (address: string, name: string | undefined, options: Options) => {
      const changed = await withClients([address], accessOf(options), ([client]) =>
        client!.switchover({ timeoutMs: options.timeout, ...(name !== undefined && { target: name }) }),
      )
      show(changed, options, context)
    })
}

function shared(command: Command): Command {
  return addAccessOptions(command)
    .addOption(new Option('--timeout <ms>', 'how long it may take').default(TIMEOUT_MS).argParser(positive))
    .option('--json', 'one JSON object')
}

function show(changed: ChangedLeader, options: Options, { output }: CommandContext): void {
  if (options.json === true) return output.out(json({ ok: true, ...changed }))
  const { leader, epoch, tookMs, mayLose } = changed
  output.out(`${pc.bold(leader)} leads, epoch ${epoch}, after ${duration(tookMs)}`)
  if (mayLose !== undefined)
    output.out(
      `${pc.yellow('may be lost')}: acknowledged commits after ${formatPosition(mayLose.after)}${mayLose.records === undefined ? '' : `, at most ${mayLose.records} records`}`,
    )
}
