/** `understudy forget`: lets go of a follower that will not come back. */
import type { Command } from 'commander'
import { accessOf, addAccessOptions, ADDRESSES, type AccessOptions } from '../access.ts'
import { withClients } from '../connections.ts'
import { json } from '../output.ts'
import type { CommandContext } from '../program.ts'

const EXAMPLES = `
Refused for a follower that is connected (stop it first) and for one that the ack rule in force names (change the rule first).
If it comes back all the same, it bootstraps again.

Examples:
  $ understudy status tcp://127.0.0.1:7401
  $ understudy forget tcp://127.0.0.1:7401 c`

export function addForgetCommand(program: Command, context: CommandContext): void {
  addAccessOptions(program.command('forget'))
    .description('Drop the slot of a follower that will not come back, and all that the leader knows of it.')
    .argument('<address>', 'address of the leader')
    .argument('<name>', 'name of the follower')
    .option('--json', 'one JSON object')
    .addHelpText('after', EXAMPLES + ADDRESSES)
    .action(async (address: string, name: string, options: AccessOptions & { readonly json?: boolean }) => {
      await withClients([address], accessOf(options), ([client]) => client!.forget(name))
      context.output.out(options.json === true ? json({ ok: true, forgotten: name }) : `forgot ${name}`)
    })
}
