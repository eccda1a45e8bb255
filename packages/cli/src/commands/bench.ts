/** `understudy bench`: the commands of `@understudy/bench`. */
import type { Command } from 'commander'
import { addBenchCommands } from '@understudy/bench'
import type { CommandContext } from '../program.ts'

export function addBenchCommand(program: Command, { output, argv }: CommandContext): void {
  const bench = program
    .command('bench')
    .description('Measure this machine: formats, transports, ack policies and databases side by side.')
  addBenchCommands(bench, { output, words: argv.slice(1) })
}
