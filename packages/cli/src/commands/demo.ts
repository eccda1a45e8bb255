/** `understudy demo`: the main job, seen to work on this machine. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Option, type Command } from 'commander'
import pc from 'picocolors'
import { systemClock, systemRandom, UnderstudyError } from '@understudy/contracts'
import { positive } from '../arguments.ts'
import { barDisplay } from '../demo/bars.ts'
import { runDemo, type DemoResult } from '../demo/demo.ts'
import { count, jsonDisplay, lineDisplay, type Display } from '../demo/display.ts'
import { errorFields, json, table } from '../output.ts'
import type { CommandContext } from '../program.ts'

interface CommandOptions {
  readonly rows?: number
  readonly directory?: string
  readonly keep?: boolean
  readonly json?: boolean
}

const EXAMPLES = `
Examples:
  $ understudy demo
  $ understudy demo --rows 5000
  $ understudy demo --directory data/demo --keep
  $ understudy demo --json

The last line of --json is { "ok": true, "commits", "ackedLost", "failoverMs", "idsReused", "lostTail", "nodes": [{ "name", "position", "digest" }], "seconds" },
or { "ok": false, "error": { "code", "message" }, "directory", … }. Only when everything held the exit code is 0.`

export function addDemoCommand(program: Command, context: CommandContext): void {
  program
    .command('demo')
    .description(
      'Load the cities of the world into a leader, bootstrap two followers, kill a follower and, for good, the leader, and prove that nothing was lost.',
    )
    .addOption(new Option('--rows <count>', 'load only so many cities').argParser(positive))
    .option(
      '--directory <path>',
      'where the nodes keep their data; must be empty or missing. Default: a temporary one',
    )
    .option('--keep', 'leave the data where it is, also after success')
    .option('--json', 'one JSON object per line; the last one is the result')
    .addHelpText('after', EXAMPLES)
    .action((options: CommandOptions) => demo(options, context))
}

async function demo(options: CommandOptions, context: CommandContext): Promise<void> {
  const place = makePlace(options.directory)
  const stop = new AbortController()
  const onSignal = (): void =>
    stop.abort(new UnderstudyError('ABORTED', 'The demo was stopped; its processes have ended.'))
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const signal of signals) process.once(signal, onSignal)
  const display = displayFor(options, context)
  const run = { display, clock: systemClock(), random: systemRandom(), signal: stop.signal }
  let keep = options.keep === true
  try {
    const result = await runDemo({ directory: place.directory, rows: options.rows, ...run })
    display.close()
    // What went wrong can be looked into; what was stopped or went well leaves nothing.
    keep ||= result.problems.length > 0
    report(result, place.directory, options, context)
  } catch (error) {
    display.close()
    const stopped = stop.signal.aborted
    keep ||= !stopped
    // Ctrl-C in a terminal goes to the nodes as well: that they end then is no failure of theirs.
    reportFailure(stopped ? stop.signal.reason : error, keep ? place.directory : undefined, options, context)
  } finally {
    for (const signal of signals) process.off(signal, onSignal)
    if (!keep) place.remove()
  }
  if (keep && options.json !== true) context.output.out(`the data is kept in ${place.directory}`)
}

function displayFor(options: CommandOptions, { output }: CommandContext): Display {
  const clock = systemClock()
  if (options.json === true) return jsonDisplay(output, clock)
  return output.terminal === undefined ? lineDisplay(output, clock) : barDisplay(output.terminal)
}

function report(
  result: DemoResult,
  directory: string,
  options: CommandOptions,
  context: CommandContext,
): void {
  const { output } = context
  const { commits, ackedLost, idsReused, failoverMs, nodes, tables, problems, seconds } = result
  const ok = problems.length === 0
  if (!ok) context.exitCode = 1
  if (options.json === true) {
    const error = { code: 'DEMO_FAILED', message: problems.join('; ') }
    const lostTail = result.lostTails.records
    const found = { commits, ackedLost, failoverMs, idsReused, lostTail, nodes, seconds }
    output.out(json({ ok, ...(ok ? {} : { error, directory }), ...found }))
    return
  }
  const names = nodes.map(({ name }) => name)
  const rows = tables.map(({ table: name, nodes: found, equal }) => [
    name,
    ...names.map((node) => {
      const digest = found[node]
      return digest === undefined ? 'missing' : `${count(digest.rows)} rows ${digest.digest.slice(0, 12)}`
    }),
    equal ? pc.green('equal') : pc.red('DIFFERENT'),
  ])
  const whole = nodes.map(({ position, digest }) => `${position} ${digest.slice(0, 12)}`)
  output.out(table(['table', ...names, ''], [...rows, ['all', ...whole, '']]))
  for (const problem of problems) output.out(`${pc.red('DEMO_FAILED')} ${problem}`)
  const lost = `${count(commits)} commits acknowledged, ${ackedLost} lost, ${idsReused} ids used again`
  output.out(
    ok
      ? `${pc.green('ok')} ${lost}; failover in ${failoverMs} ms; ${names.length} nodes hold the same rows at ${nodes[0]?.position}; ${seconds} s`
      : `${pc.red('not ok')} ${lost}; ${seconds} s`,
  )
}

function reportFailure(
  error: unknown,
  directory: string | undefined,
  options: CommandOptions,
  context: CommandContext,
): void {
  if (options.json !== true) {
    if (directory !== undefined) context.output.out(`the data is kept in ${directory}`)
    throw error
  }
  context.exitCode = 1
  context.output.out(json({ ok: false, error: errorFields(error), ...(directory && { directory }) }))
}

interface Place {
  readonly directory: string
  /** Takes away what the demo made there. */
  remove(): void
}

function makePlace(given: string | undefined): Place {
  const directory = given ?? mkdtempSync(join(tmpdir(), 'understudy-demo-'))
  const existed = given !== undefined && existsSync(given)
  if (existed && readdirSync(directory).length > 0) {
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `${directory} is not empty; nothing in it was changed. Give a directory that is empty or missing.`,
    )
  }
  mkdirSync(directory, { recursive: true })
  return {
    directory,
    remove() {
      if (!existed) return rmSync(directory, { recursive: true, force: true })
      for (const name of readdirSync(directory))
        rmSync(join(directory, name), { recursive: true, force: true })
    },
  }
}
