#!/usr/bin/env node
/** The `understudy` command. */
import { processOutput } from './output.ts'
import { runCommandLine } from './program.ts'

process.exitCode = await runCommandLine(process.argv.slice(2), processOutput)
