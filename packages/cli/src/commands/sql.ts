/**
 * `understudy sql`: statements against a node, or with --connect against a cluster. One that only reads is answered by that node, or by
 * one by preference; anything else is one write of all statements, sent to the leader.
 */
import { Option, type Command } from 'commander'
import {
  UnderstudyError,
  formatPosition,
  isUnderstudyError,
  parsePosition,
  type AckLevel,
  type Position,
  type Receipt,
} from '@understudy/contracts'
import {
  PREFERENCES,
  type Client,
  type Preference,
  type RowStream,
  type WriteOptions,
  type WriteReply,
} from '@understudy/client'
import { parseRule } from '@understudy/replication'
import { accessOf, addAccessOptions, ADDRESSES, type Access, type AccessOptions } from '../access.ts'
import { names, positive } from '../arguments.ts'
import { assertNotWeaker, connectTo, withClients } from '../connections.ts'
import { json, table } from '../output.ts'
import type { CommandContext } from '../program.ts'
import { runOnCluster, withCluster } from '../sql-cluster.ts'
import { cellsOf, endLine, printStream, resultLines } from '../sql-stream.ts'

/** As the policy of a leader has it, unless it says otherwise. */
const ACK_TIMEOUT_MS = 10_000
/** How long a result may take to be read: as long as a node allows. */
const STREAM_MS = 600_000

interface SqlOptions extends AccessOptions {
  readonly connect?: readonly string[]
  readonly prefer?: Preference
  readonly maxStalenessMs?: number
  readonly after?: string
  readonly ack?: AckLevel
  readonly of?: string
  readonly ackTimeoutMs?: number
  readonly key?: string
  readonly json?: boolean
  readonly jsonLines?: boolean
}

const EXAMPLES = `
Examples:
  $ understudy sql tcp://127.0.0.1:7401 "create table note (id integer primary key autoincrement, body text)"
  $ understudy sql tcp://127.0.0.1:7402 "insert into note (body) values ('written through a follower')"
  $ understudy sql tcp://127.0.0.1:7402 "select * from note" --after 1/3 --json
  $ understudy sql tcp://127.0.0.1:7402 "select * from note" --json-lines | head -100
  $ understudy sql tcp://127.0.0.1:7401 "delete from note" --ack durable --of 'any 1 (b, c)'
  $ understudy sql tcp://127.0.0.1:7401 "insert into note (body) values ('once')" --key order-17
  $ understudy sql --connect tcp://127.0.0.1:7401,tcp://127.0.0.1:7402 "insert into note (body) values ('wherever the leader is')"
  $ understudy sql --connect tcp://127.0.0.1:7401,ws://127.0.0.1:7402 "select * from note" --prefer follower --max-staleness-ms 500`

export function addSqlCommand(program: Command, context: CommandContext): void {
  addAccessOptions(program.command('sql'))
    .description(
      'Run SQL: reads on this node, writes on its leader; with --connect on the nodes of a cluster, over a failover too. Several statements are one write.',
    )
    .argument('[address]', 'address of a node; not with --connect')
    .argument('[statement...]', 'SQL, one statement each')
    .addOption(
      new Option(
        '--connect <addresses>',
        'of a cluster, some or all, by commas: writes go to the leader wherever it is, and are sent again after a failover',
      ).argParser(names),
    )
    .addOption(
      new Option('--prefer <nodes>', 'with --connect: where to read (default: leader)').choices(PREFERENCES),
    )
    .option('--max-staleness-ms <ms>', 'with --connect: read nothing older', positive)
    .option(
      '--after <position>',
      'read only once the node shows this position, such as 3/1042; with --connect a token',
    )
    .addOption(
      new Option('--ack <level>', 'a write: where it must be before it is answered').choices([
        'local',
        'received',
        'durable',
        'applied',
      ]),
    )
    .option('--of <set>', "a write: on which followers, such as 'any 1 (b, c)' or 'first 1 (b, c)'")
    .option('--ack-timeout-ms <ms>', 'a write: how long to wait for them', positive)
    .option('--key <key>', 'a write: done once, however often it is sent with this key')
    .addOption(
      new Option('--json', 'one JSON object, of a result that fits into one answer').conflicts('jsonLines'),
    )
    .option(
      '--json-lines',
      'a JSON line for the columns, one for each row, and one at the end: a result of any size, as it comes',
    )
    .addHelpText('after', EXAMPLES + ADDRESSES)
    .action(async (first: string | undefined, others: string[], options: SqlOptions, command: Command) => {
      if (options.json !== true && statementsOf(first, others, options).length === 0)
        command.error('error: give the address of a node, or --connect, and at least one statement')
      if (await streamed(first, others, options, context)) return
      const answer = await answerOf(first, others, options)
      if (options.jsonLines === true) {
        const { results, position, ...said } = answer
        for (const line of results.flatMap(resultLines)) context.output.out(line)
        context.output.out(endLine(position, said))
      } else if (options.json === true)
        context.output.out(
          json({ ok: true, ...answer, position: answer.position && formatPosition(answer.position) }),
        )
      else show(answer, context)
    })
}

/** The statements, wherever they stand on the command line. */
function statementsOf(
  first: string | undefined,
  others: readonly string[],
  { connect }: SqlOptions,
): readonly string[] {
  if (connect === undefined) return others
  return first === undefined ? [] : [first, ...others]
}

/**
 * A single statement that may only read is printed as it comes. Whether it was: not for one object of JSON, and not when it turns out
 * to write, of which nothing was done then.
 */
async function streamed(
  first: string | undefined,
  others: readonly string[],
  options: SqlOptions,
  { output }: CommandContext,
): Promise<boolean> {
  const { connect, json: asObject, jsonLines, maxStalenessMs } = options
  const [sql = '', ...more] = statementsOf(first, others, options)
  const mayStream = asObject !== true && maxStalenessMs === undefined && more.length === 0
  if (!mayStream || first === undefined || asksOf(options) !== undefined || !mayOnlyRead(sql) || sql === '')
    return false
  const access = accessOf(options)
  const as = jsonLines === true ? 'json-lines' : 'table'
  const end = (
    { position }: RowStream<unknown>,
    rows: number,
    more: { node?: string; token?: string } = {},
  ): void =>
    output.out(
      as === 'json-lines'
        ? endLine(position, { rows, ...more })
        : `${rows} ${rows === 1 ? 'row' : 'rows'}${position === undefined ? '' : `, position ${formatPosition(position)}`}`,
    )
  try {
    if (connect === undefined)
      await withClients([first], access, async ([client]) => {
        const after = options.after === undefined ? undefined : readPosition(options.after)
        const stream = (client as Client).iterateArrays(sql, [], { after, timeoutMs: STREAM_MS })
        end(stream, await printStream(stream, as, output))
      })
    else
      await withCluster({ ...options, connect }, access, async (client) => {
        const stream = client.iterateArrays(sql, [], { timeoutMs: STREAM_MS })
        const rows = await printStream(stream, as, output)
        end(stream, rows, client.token === undefined ? {} : { token: client.token })
        if (as === 'table' && client.token !== undefined) output.out(`token ${client.token}`)
      })
    return true
  } catch (error) {
    // A statement that is refused because it would write did nothing yet.
    if (isUnderstudyError(error, 'WRITE_FORBIDDEN')) return false
    throw error
  }
}

/** Of a node, or of a cluster. */
function answerOf(
  first: string | undefined,
  others: readonly string[],
  options: SqlOptions,
): Promise<WriteReply> {
  const { connect, prefer, maxStalenessMs } = options
  const statements = statementsOf(first, others, options)
  if (connect === undefined && (prefer !== undefined || maxStalenessMs !== undefined))
    throw invalid('--prefer and --max-staleness-ms choose among nodes; give their addresses with --connect')
  if (connect === undefined && first === undefined) throw invalid('give the address of a node, or --connect')
  if (statements.length === 0) throw invalid('give at least one statement')
  const access = accessOf(options)
  if (connect === undefined)
    return withClients([first as string], access, ([client]) => runSql(client!, statements, options, access))
  const asks = asksOf(options)
  const mayBeRead = asks === undefined && statements.length === 1 && mayOnlyRead(statements[0] as string)
  return runOnCluster(statements, { ...options, connect }, asks, mayBeRead, access)
}

function invalid(what: string): UnderstudyError {
  return new UnderstudyError('INVALID_ARGUMENT', `${what}. Nothing was run.`)
}

async function runSql(
  client: Client,
  statements: readonly string[],
  options: SqlOptions,
  access: Access,
): Promise<WriteReply> {
  const after = options.after === undefined ? undefined : readPosition(options.after)
  const [first = ''] = statements
  const asks = asksOf(options)
  if (asks === undefined && statements.length === 1 && mayOnlyRead(first)) {
    try {
      const { position, proof: _, ...result } = await client.read(first, [], { after })
      return { results: [result], position, receipt: undefined, replayed: false, valueKept: true }
    } catch (error) {
      // A statement that is refused because it would write did nothing yet.
      if (!isUnderstudyError(error, 'WRITE_FORBIDDEN')) throw error
    }
  }
  const writes = statements.map((sql) => ({ sql }))
  const { following } = (await client.status()) as { following?: { leader?: string } }
  if (following?.leader === undefined) return client.write(writes, asks)
  assertNotWeaker(client.address, following.leader)
  const leader = await connectTo(following.leader, access)
  try {
    return await leader.write(writes, asks)
  } finally {
    await leader.close()
  }
}

/** What a write asks for; `undefined` when nothing was given, so that a statement may be one that only reads. */
function asksOf({ ack, of, ackTimeoutMs, key }: SqlOptions): WriteOptions | undefined {
  if (ack === undefined && of === undefined && ackTimeoutMs === undefined && key === undefined)
    return undefined
  const rule = of === undefined ? undefined : parseRule(of)
  if (rule !== undefined && rule.of === undefined)
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `--of is '${of}', which names no followers; give such as 'any 1 (b, c)'. Nothing was run.`,
    )
  return {
    // The answer that acks did not come in time must have the time to come itself.
    timeoutMs: (ackTimeoutMs ?? ACK_TIMEOUT_MS) + ACK_TIMEOUT_MS,
    ...(ack && { ack }),
    ...(rule?.of && { of: rule.of }),
    ...(ackTimeoutMs !== undefined && { ackTimeoutMs }),
    ...(key !== undefined && { key }),
  }
}

/**
 * Whether a statement can be one that only reads, by its first word. Others are not tried on a follower, which may not
 * have the table yet that the leader made a moment ago.
 */
export function mayOnlyRead(sql: string): boolean {
  const [, word = ''] = /^(?:[\s;]|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)*([a-z]*)/i.exec(sql) ?? []
  return ['select', 'with', 'values', 'explain', 'pragma', ''].includes(word.toLowerCase())
}

function readPosition(text: string): Position {
  const position = parsePosition(text)
  if (position !== undefined) return position
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `--after is '${text}'; give a position such as 3/1042. Nothing was run.`,
  )
}

function show(
  {
    results,
    position,
    receipt,
    replayed,
    valueKept,
    ...from
  }: WriteReply & { node?: string; token?: string | undefined },
  { output }: CommandContext,
): void {
  if (replayed) output.out(`done before under this key${valueKept ? '' : '; its results were not kept'}`)
  for (const { columns, rows, changes } of results) {
    if (columns.length > 0) output.out(table(columns, rows.map(cellsOf)))
    else output.out(`${changes} ${changes === 1 ? 'row' : 'rows'} changed`)
  }
  if (position !== undefined)
    output.out(
      `position ${formatPosition(position)}${acksOf(receipt)}${from.node === undefined ? '' : `, by ${from.node}`}`,
    )
  if (from.token !== undefined) output.out(`token ${from.token}`)
}

function acksOf(receipt: Receipt | undefined): string {
  if (receipt === undefined || receipt.asked === 'local') return ''
  const { asked, reached, members, degraded } = receipt
  const by = members.length === 0 ? '' : ` by ${members.map(({ name }) => name).join(', ')}`
  return `, ${reached}${by}${degraded ? ` (${asked} was asked for)` : ''}`
}
