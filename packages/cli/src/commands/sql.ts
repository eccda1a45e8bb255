/**
 * `understudy sql`: statements against a node. One that only reads is answered by that node; anything else is one write
 * of all statements, sent to the leader, whose address a follower tells.
 */
import type { Command } from 'commander'
import {
  UnderstudyError,
  formatPosition,
  isUnderstudyError,
  parsePosition,
  type Position,
} from '@understudy/contracts'
import type { Client, WriteReply } from '@understudy/client'
import type { Value } from '@understudy/protocol'
import { accessOf, addAccessOptions, ADDRESSES, type Access, type AccessOptions } from '../access.ts'
import { assertNotWeaker, connectTo, withClients } from '../connections.ts'
import { json, table } from '../output.ts'
import type { CommandContext } from '../program.ts'

interface SqlOptions extends AccessOptions {
  readonly after?: string
  readonly json?: boolean
}

const EXAMPLES = `
Examples:
  $ understudy sql tcp://127.0.0.1:7401 "create table note (id integer primary key autoincrement, body text)"
  $ understudy sql tcp://127.0.0.1:7402 "insert into note (body) values ('written through a follower')"
  $ understudy sql tcp://127.0.0.1:7402 "select * from note" --after 1/3 --json`

export function addSqlCommand(program: Command, context: CommandContext): void {
  addAccessOptions(program.command('sql'))
    .description('Run SQL: reads on this node, writes on its leader. Several statements are one write.')
    .argument('<address>', 'address of a node')
    .argument('<statement...>', 'SQL, one statement each')
    .option('--after <position>', 'read only once the node shows this position, such as 3/1042')
    .option('--json', 'one JSON object')
    .addHelpText('after', EXAMPLES + ADDRESSES)
    .action(async (address: string, statements: string[], options: SqlOptions) => {
      const access = accessOf(options)
      const answer = await withClients([address], access, ([client]) =>
        runSql(client!, statements, options, access),
      )
      if (options.json === true)
        context.output.out(
          json({ ok: true, ...answer, position: answer.position && formatPosition(answer.position) }),
        )
      else show(answer, context)
    })
}

async function runSql(
  client: Client,
  statements: readonly string[],
  options: SqlOptions,
  access: Access,
): Promise<WriteReply> {
  const after = options.after === undefined ? undefined : readPosition(options.after)
  const [first = ''] = statements
  if (statements.length === 1 && mayOnlyRead(first)) {
    try {
      const { position, ...result } = await client.read(first, [], { after })
      return { results: [result], position }
    } catch (error) {
      // A statement that is refused because it would write did nothing yet.
      if (!isUnderstudyError(error, 'WRITE_FORBIDDEN')) throw error
    }
  }
  const writes = statements.map((sql) => ({ sql }))
  const { following } = (await client.status()) as { following?: { leader?: string } }
  if (following?.leader === undefined) return client.write(writes)
  assertNotWeaker(client.address, following.leader)
  const leader = await connectTo(following.leader, access)
  try {
    return await leader.write(writes)
  } finally {
    await leader.close()
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

function show({ results, position }: WriteReply, { output }: CommandContext): void {
  for (const { columns, rows, changes } of results) {
    if (columns.length > 0)
      output.out(
        table(
          columns,
          rows.map((row) => row.map(cell)),
        ),
      )
    else output.out(`${changes} ${changes === 1 ? 'row' : 'rows'} changed`)
  }
  if (position !== undefined) output.out(`position ${formatPosition(position)}`)
}

function cell(value: Value): string {
  if (value === null) return 'NULL'
  if (value instanceof Uint8Array)
    return `x'${Buffer.from(value.subarray(0, 32)).toString('hex')}${value.length > 32 ? '…' : ''}'`
  return String(value)
}
