/** `understudy slots`: what holds a node's log back, and letting go of it. */
import type { Command } from 'commander'
import { accessOf, addAccessOptions, ADDRESSES, type AccessOptions } from '../access.ts'
import { withClients } from '../connections.ts'
import { bytes, json, table } from '../output.ts'
import type { CommandContext } from '../program.ts'

const EXAMPLES = `
Examples:
  $ understudy slots tcp://127.0.0.1:7401
  $ understudy slots tcp://127.0.0.1:7401 --drop b`

export function addSlotsCommand(program: Command, context: CommandContext): void {
  addAccessOptions(program.command('slots'))
    .description("List a node's retention slots, or drop the slot of a follower that will not come back.")
    .argument('<address>', 'address of the node')
    .option('--drop <name>', 'drop this slot: its follower will have to bootstrap again')
    .option('--json', 'one JSON object')
    .addHelpText('after', EXAMPLES + ADDRESSES)
    .action(
      async (
        address: string,
        options: AccessOptions & { readonly drop?: string; readonly json?: boolean },
      ) => {
        const slots = await withClients([address], accessOf(options), async ([client]) => {
          if (options.drop !== undefined) await client!.dropSlot(options.drop)
          return client!.slots()
        })
        if (options.json === true) {
          context.output.out(json({ ok: true, dropped: options.drop, slots }))
          return
        }
        if (options.drop !== undefined) context.output.out(`dropped ${options.drop}`)
        const rows = slots.map(({ name, lsn, state, heldBytes, safeBytes }) => [
          name,
          lsn,
          state,
          bytes(heldBytes),
          safeBytes === undefined || safeBytes === null ? 'never lost' : bytes(safeBytes),
        ])
        context.output.out(table(['slot', 'has everything to', 'state', 'holds back', 'until lost'], rows))
      },
    )
}
