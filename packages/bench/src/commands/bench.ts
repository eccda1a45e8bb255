/** The commands of the benchmark, for `understudy bench` and for a program of its own. */
import type { Command } from 'commander'
import { addAcks } from './acks.ts'
import { addCompare } from './compare.ts'
import { addCore, addFormats } from './core.ts'
import type { BenchContext } from './output.ts'
import { addRejoin } from './rejoin.ts'
import { addReport } from './report.ts'
import { addRun } from './run.ts'
import { addTransports } from './transports.ts'

/** Adds them beneath `bench`, the comparison as the one that needs no name. */
export function addBenchCommands(bench: Command, context: BenchContext): void {
  addRun(bench, context)
  addReport(bench, context)
  addCompare(bench, context)
  addCore(bench, context)
  addFormats(bench, context)
  addAcks(bench, context)
  addTransports(bench, context)
  addRejoin(bench, context)
}
