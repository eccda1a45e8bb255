/** `understudy switch-format`: changes the log format of a running cluster. */
import { Argument, type Command } from 'commander'
import { formatPosition } from '@understudy/contracts'
import { accessOf, addAccessOptions, ADDRESSES, type AccessOptions } from '../access.ts'
import { withClients } from '../connections.ts'
import { FORMAT_NAMES } from '../formats.ts'
import { json } from '../output.ts'
import type { CommandContext } from '../program.ts'

const EXAMPLES = `
Writes go on meanwhile. For 'wal' each follower first makes its file equal to the leader's, page by page: only pieces that
differ travel, and reads on it wait for so long. A leader starts with the format of its --format option.

Examples:
  $ understudy switch-format tcp://127.0.0.1:7401 statement
  $ understudy switch-format tcp://127.0.0.1:7401 wal --json`

export function addSwitchFormatCommand(program: Command, context: CommandContext): void {
  addAccessOptions(program.command('switch-format'))
    .description('Record writes in another log format from now on, without a stop.')
    .argument('<address>', 'address of the leader')
    .addArgument(new Argument('<format>', 'the format to change to').choices(FORMAT_NAMES))
    .option('--json', 'one JSON object')
    .addHelpText('after', EXAMPLES + ADDRESSES)
    .action(async (address: string, format: string, options: AccessOptions & { readonly json?: boolean }) => {
      const position = await withClients([address], accessOf(options), async ([client]) =>
        client!.switchFormat(format),
      )
      const at = formatPosition(position)
      context.output.out(
        options.json === true
          ? json({ ok: true, format, position: at })
          : `writes are logged in format ${format} from ${at} on`,
      )
    })
}
