/** `understudy log`: prints a log directory record by record, with decoded rows. Reads only; the node may be running. */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Option, type Command } from 'commander'
import pc from 'picocolors'
import {
  CONTROL_ACKS,
  CONTROL_ACKS_LOWERED,
  CONTROL_FORMAT,
  CONTROL_GROUP_ACKS,
  CONTROL_MARKER,
  FLAG_AWAITS_ACKS,
  FLAG_UNMET,
  FLAG_CONTINUES,
  FORMAT_CONTROL,
  UnderstudyError,
  formatPosition,
  type LogRecord,
} from '@understudy/contracts'
import { beginsEpoch, epochEntryOf, nodeFiles, readSegments } from '@understudy/log'
import { generationPaths, readNodeState } from '@understudy/node'
import { PartAssembler } from '@understudy/replication'
import { whole } from '../arguments.ts'
import { allFormats } from '../formats.ts'
import { bytes, json } from '../output.ts'
import type { CommandContext } from '../program.ts'

interface LogOptions {
  readonly from: number
  readonly to?: number
  readonly limit?: number
  readonly payload: boolean
  readonly json?: boolean
}

const EXAMPLES = `
Examples:
  $ understudy log data/a
  $ understudy log data/a --from 1000 --limit 20
  $ understudy log data/a/generation-1/log --json`

/** Longest transaction that is put together for decoding, in bytes. */
const TRANSACTION_BYTES_MAX = 1024 * 1024 * 1024

export function addLogCommand(program: Command, context: CommandContext): void {
  program
    .command('log')
    .description('Print a log record by record. Exits with 1 when a part of it is damaged.')
    .argument('<directory>', "a node's directory, or a log directory")
    .addOption(new Option('--from <lsn>', 'first record to print').default(1).argParser(whole))
    .addOption(new Option('--to <lsn>', 'last record to print').argParser(whole))
    .addOption(new Option('--limit <count>', 'print at most so many records').argParser(whole))
    .option('--no-payload', 'heads only, no rows')
    .option('--json', 'one JSON object per record')
    .addHelpText('after', EXAMPLES)
    .action((directory: string, options: LogOptions) => printLog(directory, options, context))
}

function printLog(directory: string, options: LogOptions, context: CommandContext): void {
  const { output } = context
  const parts = new PartAssembler(TRANSACTION_BYTES_MAX)
  let printed = 0
  let readFrom = 0
  for (const item of readSegments(logDirectory(directory))) {
    if (item.kind === 'damage') {
      context.exitCode = 1
      const { segment, offset, lsn, reason } = item
      if (options.json === true) output.out(json({ damage: { segment, offset, lsn, reason } }))
      else output.out(`${pc.red('damage')} at ${segment}:${offset}, from LSN ${lsn}: ${reason}`)
      parts.clear()
      continue
    }
    if (item.kind === 'tail') {
      if (options.json !== true)
        output.out(pc.gray(`unsynced tail at ${item.segment}:${item.offset}: ${item.reason}`))
      continue
    }
    const { record } = item
    readFrom ||= record.lsn
    if (options.to !== undefined && record.lsn > options.to) break
    // A transaction in parts is decoded from its first part on, also when printing begins in its middle.
    const whole = parts.push(record)
    if (record.lsn < options.from) continue
    if (options.limit !== undefined && printed >= options.limit) break
    printed++
    const payload = options.payload ? describePayload(record, whole?.payload) : undefined
    output.out(options.json === true ? json({ ...head(record), payload }) : text(record, payload))
  }
  if (options.json !== true && printed === 0)
    output.out(`no records${readFrom === 0 ? '' : ` in that range; the log begins at LSN ${readFrom}`}`)
}

function logDirectory(directory: string): string {
  const isDirectory = statSync(directory, { throwIfNoEntry: false })?.isDirectory() === true
  const state = isDirectory ? readNodeState(nodeFiles(), directory) : undefined
  const places =
    state !== undefined
      ? [generationPaths(directory, state.generation).log]
      : [join(directory, 'log'), directory]
  const found = places.find(holdsSegments)
  if (found !== undefined) return found
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `${directory} ${isDirectory ? 'holds no log' : 'is no directory'}. Give the directory of a node that was started, or a folder with its segment files.`,
  )
}

function holdsSegments(directory: string): boolean {
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true) return false
  return readdirSync(directory).some((name) => name.endsWith('.segment'))
}

function head(record: LogRecord): Record<string, unknown> {
  const { format, flags, crc, previousCrc, committedAtMs, payload } = record
  return {
    position: formatPosition(record),
    format: formatName(format),
    continues: (flags & FLAG_CONTINUES) !== 0,
    awaitsAcks: (flags & FLAG_AWAITS_ACKS) !== 0,
    unmetAcks: (flags & FLAG_UNMET) !== 0,
    committedAt: new Date(committedAtMs).toISOString(),
    bytes: payload.length,
    crc: hex(crc),
    previousCrc: hex(previousCrc),
  }
}

function text(record: LogRecord, payload: unknown): string {
  const { position, format, committedAt, crc } = head(record) as Record<string, string>
  const line = `${pc.bold(position)} ${format} ${committedAt} ${bytes(record.payload.length)} crc ${crc}`
  if (payload === undefined) return line
  return `${line}\n${JSON.stringify(payload, undefined, 2).replaceAll(/^/gm, '  ')}`
}

function describePayload(record: LogRecord, whole: Uint8Array | undefined): unknown {
  if (beginsEpoch(record)) return { epoch: epochEntryOf(record) }
  if (record.format === FORMAT_CONTROL) return describeControl(record.payload)
  if (whole === undefined) return { part: 'the transaction goes on in the next record' }
  const format = allFormats().find(({ id }) => id === record.format)
  if (format?.describe !== undefined) return format.describe(whole)
  return { hex: Buffer.from(whole).toString('hex') }
}

function describeControl(payload: Uint8Array): unknown {
  if (payload[0] === CONTROL_MARKER) return { marker: true }
  if (payload[0] === CONTROL_ACKS) return { acks: Buffer.from(payload.subarray(1)).toString() }
  if (payload[0] === CONTROL_ACKS_LOWERED)
    return { acks: 'local', instead: Buffer.from(payload.subarray(1)).toString() }
  if (payload[0] === CONTROL_GROUP_ACKS) return { groupAcks: Buffer.from(payload.subarray(1)).toString() }
  if (payload[0] !== CONTROL_FORMAT) return { hex: Buffer.from(payload).toString('hex') }
  return { format: formatName((payload[1] ?? 0) + 256 * (payload[2] ?? 0)) }
}

function formatName(id: number): string {
  if (id === FORMAT_CONTROL) return 'control'
  return allFormats().find((format) => format.id === id)?.name ?? `format ${id}`
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0')
}
