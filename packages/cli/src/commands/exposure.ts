/** `understudy exposure`: what was committed with less protection than was asked for, by what a node's log holds. */
import type { Command } from 'commander'
import {
  UnderstudyError,
  formatPosition,
  parsePosition,
  systemClock,
  type Exposure,
  type ExposureEntry,
  type ExposureOptions,
} from '@understudy/contracts'
import { accessOf, addAccessOptions, ADDRESSES, type AccessOptions } from '../access.ts'
import { withClients } from '../connections.ts'
import { json, table } from '../output.ts'
import type { CommandContext } from '../program.ts'

interface Options extends AccessOptions {
  readonly since?: string
  readonly byChoice?: boolean
  readonly json?: boolean
}

const EXAMPLES = `
Examples:
  $ understudy exposure tcp://127.0.0.1:7401
  $ understudy exposure tcp://127.0.0.1:7401 --since 2h
  $ understudy exposure tcp://127.0.0.1:7401 --since 2026-05-01T06:00:00Z --by-choice
  $ understudy exposure tcp://127.0.0.1:7402 --since 3/1042 --json`

export function addExposureCommand(program: Command, context: CommandContext): void {
  addAccessOptions(program.command('exposure'))
    .description(
      'List the positions that were committed with less protection than was asked for, and whether the followers have them by now. Exits with 1 when some are exposed still.',
    )
    .argument('<address>', 'address of a node: a leader or a follower, they have the same log')
    .option(
      '--since <when>',
      'only what was exposed since then: a position such as 3/1042, an age such as 30m, 2h or 7d, or a time in ISO 8601',
    )
    .option('--by-choice', "also writes that asked for less than the cluster's rule by themselves")
    .option('--json', 'one JSON object')
    .addHelpText('after', EXAMPLES + ADDRESSES)
    .action(async (address: string, options: Options) => {
      const asked = { ...sinceOf(options.since), ...(options.byChoice === true && { byChoice: true }) }
      const exposure = await withClients([address], accessOf(options), ([client]) => client!.exposure(asked))
      const isExposed = exposure.ranges.some(({ why, state }) => why === 'lowered' && state === 'exposed')
      if (isExposed) context.exitCode = 1
      if (options.json === true) context.output.out(json({ ok: !isExposed, ...exposure }))
      else for (const line of describe(exposure)) context.output.out(line)
    })
}

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

function sinceOf(text: string | undefined): ExposureOptions {
  if (text === undefined) return {}
  const after = parsePosition(text)
  if (after !== undefined) return { after }
  const [, count, unit] = /^(\d+)([smhd])$/.exec(text) ?? []
  if (count !== undefined && unit !== undefined)
    return { sinceMs: Math.max(0, systemClock().now() - Number(count) * (UNITS[unit] ?? 0)) }
  const sinceMs = Date.parse(text)
  if (Number.isFinite(sinceMs) && sinceMs >= 0) return { sinceMs }
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `--since is '${text}'; nothing was asked. Give a position such as 3/1042, an age such as 2h, or a time such as 2026-05-01T06:00:00Z.`,
  )
}

function describe({ knownFrom, upTo, ranges, forgotten }: Exposure): string[] {
  const lines: string[] = []
  if (ranges.length > 0)
    lines.push(
      table(['from', 'to', 'commits', 'asked', 'had', 'began', 'ended', 'now', 'held by'], ranges.map(rowOf)),
    )
  else if (knownFrom !== undefined) lines.push('Nothing was committed with less protection than asked.')
  if (ranges.some(({ waited }) => waited != null))
    lines.push(
      'The first commit of a range waited when the rule was lowered: its acks may have come at the last moment.',
    )
  if (forgotten > 0) lines.push(`${forgotten} older ranges are not remembered.`)
  const end = formatPosition(upTo)
  lines.push(
    knownFrom === undefined
      ? `Of the log up to ${end} nothing is known: the record that says which rule was in force is not in it any more.`
      : `Looked at up to ${end}. The log of this node says it from LSN ${knownFrom} on; before it nothing is known.`,
  )
  return lines
}

function rowOf(range: ExposureEntry): (string | number)[] {
  const { why, from, to, isOpen, commits, asked, effective, beganAtMs, endedAtMs, state, holders } = range
  return [
    formatPosition(from),
    isOpen ? `${formatPosition(to)} (now)` : formatPosition(to),
    commits,
    why === 'choice' ? `${asked}, by choice` : asked,
    effective,
    timeOf(beganAtMs),
    endedAtMs === undefined || endedAtMs === null ? '' : timeOf(endedAtMs),
    state === 'covered' && range.covered != null
      ? `covered since ${formatPosition(range.covered.position)}`
      : state,
    holders.join(', '),
  ]
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString()
}
