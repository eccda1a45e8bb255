/**
 * The command line: which commands there are, how their options read, what they exit with.
 *
 * Exit codes: 0 done; 1 the command failed, and said why in one line; 2 the command line itself was wrong.
 */
import { Command, CommanderError } from 'commander'
import { describeError, errorJson, type Output } from './output.ts'
import { addBenchCommand } from './commands/bench.ts'
import { addLogCommand } from './commands/log.ts'
import { addSlotsCommand } from './commands/slots.ts'
import { addSqlCommand } from './commands/sql.ts'
import { addStartCommand } from './commands/start.ts'
import { addStatusCommand } from './commands/status.ts'
import { addVerifyCommand } from './commands/verify.ts'

/** What every command gets: where to print, how to end with another exit code than 0. */
export interface CommandContext {
  readonly output: Output
  exitCode: number
}

/** Runs one command line; resolves with its exit code once the command has ended. */
export async function runCommandLine(argv: readonly string[], output: Output): Promise<number> {
  const context: CommandContext = { output, exitCode: 0 }
  const program = new Command('understudy')
    .description('Leader-based replication for SQLite.')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => output.out(text.trimEnd()),
      writeErr: (text) => output.error(text.trimEnd()),
    })
  for (const add of [
    addStartCommand,
    addStatusCommand,
    addSqlCommand,
    addVerifyCommand,
    addLogCommand,
    addSlotsCommand,
    addBenchCommand,
  ]) {
    add(program, context)
  }
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return context.exitCode
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    if (argv.includes('--json')) output.out(errorJson(error))
    else output.error(describeError(error))
    return 1
  }
}
