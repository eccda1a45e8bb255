/** `understudy lint`: what in a schema cannot be protected from giving an id twice, and what to do about it. */
import type { Command } from 'commander'
import pc from 'picocolors'
import { lintIds } from '@understudy/failover'
import { accessOf, addAccessOptions, ADDRESSES, type AccessOptions } from '../access.ts'
import { withClients } from '../connections.ts'
import { json } from '../output.ts'
import type { CommandContext } from '../program.ts'

interface LintOptions extends AccessOptions {
  readonly json?: boolean
}

const EXAMPLES = `
Examples:
  $ understudy lint tcp://127.0.0.1:7401
  $ understudy lint tcp://127.0.0.1:7401 --json`

export function addLintCommand(program: Command, context: CommandContext): void {
  addAccessOptions(program.command('lint'))
    .description(
      'Name tables whose ids could be given twice after a failover. Exits with 1 when there are any.',
    )
    .argument('<address>', 'address of a node')
    .option('--json', 'one JSON object')
    .addHelpText('after', EXAMPLES + ADDRESSES)
    .action(async (address: string, options: LintOptions) => {
      const findings = await withClients([address], accessOf(options), ([client]) =>
        lintIds(async (sql, parameters) => (await client!.read(sql, parameters)).rows),
      )
      const { output } = context
      if (findings.length > 0) context.exitCode = 1
      if (options.json === true) return output.out(json({ ok: findings.length === 0, findings }))
      for (const { table, problem, advice } of findings) {
        output.out(`${pc.yellow(table)}: ${problem}`)
        output.out(`  ${advice}`)
      }
      if (findings.length === 0) output.out('no table gives an id twice')
    })
}
