#!/usr/bin/env node
/** `npx @understudy/bench`: the commands of `understudy bench` as a program of its own. Exit codes: 0 done, 1 failed, 2 the command line was wrong. */
import { Command, CommanderError } from 'commander'
import { isUnderstudyError } from '@understudy/contracts'
import { addBenchCommands } from './commands/bench.ts'
import type { Output } from './commands/output.ts'

const output: Output = {
  out: (line) => void process.stdout.write(`${line}\n`),
  error: (line) => void process.stderr.write(`${line}\n`),
}
const words = process.argv.slice(2)
const program = new Command('understudy-bench')
  .description('Replication strategies and databases side by side, on this machine.')
  .showHelpAfterError('(add --help to see what the command takes)')
  .exitOverride()
addBenchCommands(program, { output, words })
try {
  await program.parseAsync(words, { from: 'user' })
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2
  else {
    process.exitCode = 1
    const message = error instanceof Error ? error.message : String(error)
    output.error(isUnderstudyError(error) ? `${error.code} ${message}` : `error ${message}`)
  }
}
