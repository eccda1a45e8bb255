/**
 * The command line: which commands there are, how their options read, what they exit with.
 *
 * Exit codes: 0 done; 1 the command failed, and said why in one line; 2 the command line itself was wrong.
 */
import { createRequire } from 'node:module'
import { Command, CommanderError } from 'commander'
import { describeError, errorJson, type Output } from './output.ts'
import { addAcksCommand } from './commands/acks.ts'
import { addBenchCommand } from './commands/bench.ts'
import { addCredentialCommand } from './commands/credential.ts'
import { addDemoCommand } from './commands/demo.ts'
import { addFailoverCommand } from './commands/failover.ts'
import { addForgetCommand } from './commands/forget.ts'
import { addExposureCommand } from './commands/exposure.ts'
import { addLintCommand } from './commands/lint.ts'
import { addLogCommand } from './commands/log.ts'
import { addLostTailCommand } from './commands/lost-tail.ts'
import { addPromoteCommand, addSwitchoverCommand } from './commands/promote.ts'
import { addReceiptCommand } from './commands/receipt.ts'
import { addRejoinCommand } from './commands/rejoin.ts'
import { addSlotsCommand } from './commands/slots.ts'
import { addSqlCommand } from './commands/sql.ts'
import { addSwitchFormatCommand } from './commands/switch-format.ts'
import { addStartCommand } from './commands/start.ts'
import { addStatusCommand } from './commands/status.ts'
import { addVerifyCommand } from './commands/verify.ts'

/** What every command gets: where to print, how to end with another exit code than 0. */
export interface CommandContext {
  readonly output: Output
  /** The words of the command line. */
  readonly argv: readonly string[]
  exitCode: number
}

/** The package's own version; its package.json is one folder up from here, as source and built. */
function version(): string {
  const manifest = createRequire(import.meta.url)('../package.json') as { readonly version: string }
  return manifest.version
}

/** Runs one command line; resolves with its exit code once the command has ended. */
export async function runCommandLine(argv: readonly string[], output: Output): Promise<number> {
  const context: CommandContext = { output, argv, exitCode: 0 }
  const program = new Command('understudy')
    .description('Leader-based replication for SQLite.')
    .version(version())
    .showHelpAfterError('(add --help to see what the command takes)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => output.out(text.trimEnd()),
      writeErr: (text) => output.error(text.trimEnd()),
    })
  for (const add of [
    addDemoCommand,
    addStartCommand,
    addStatusCommand,
    addSqlCommand,
    addReceiptCommand,
    addVerifyCommand,
    addLintCommand,
    addLogCommand,
    addLostTailCommand,
    addFailoverCommand,
    addPromoteCommand,
    addSwitchoverCommand,
    addRejoinCommand,
    addSlotsCommand,
    addForgetCommand,
    addExposureCommand,
    addSwitchFormatCommand,
    addAcksCommand,
    addCredentialCommand,
    addBenchCommand,
  ]) {
    add(program, context)
  }
  try {
    await program.parseAsync([...argv], { from: 'user' })
    return context.exitCode
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
    if (argv.includes('--json') || argv.includes('--json-lines')) output.out(errorJson(error))
    else output.error(describeError(error))
    return 1
  }
}
