/**
 * `understudy lost-tail`: what a former leader alone had, which it kept before it undid it. `list`, `show` and `discard` read a
 * node's directory, which may be in use; `diff` and `apply` ask the leader of now.
 */
import type { Command } from 'commander'
import pc from 'picocolors'
import type { Client } from '@understudy/client'
import {
  UnderstudyError,
  formatPosition,
  isUnderstudyError,
  systemClock,
  type Position,
} from '@understudy/contracts'
import {
  classify,
  discardLostTail,
  findLostTail,
  listLostTails,
  noteApplied,
  readLostTail,
  statementsFor,
  type Classification,
  type LostChange,
  type LostTail,
  type LostTailFile,
  type LostTransaction,
} from '@understudy/failover'
import { nodeFiles } from '@understudy/log'
import { lostTailDirectory } from '@understudy/node'
import { accessOf, addAccessOptions, ADDRESSES, type Access, type AccessOptions } from '../access.ts'
import { assertNotWeaker, connectTo, withClients } from '../connections.ts'
import { allFormats } from '../formats.ts'
import { json, table } from '../output.ts'
import type { CommandContext } from '../program.ts'

interface JsonOption {
  readonly json?: boolean
}

interface RemoteOptions extends AccessOptions, JsonOption {}

const EXAMPLES = `
Examples:
  $ understudy lost-tail list data/a
  $ understudy lost-tail show data/a 3-1043-1100-0badcafe
  $ understudy lost-tail diff data/a 3-1043-1100-0badcafe tcp://127.0.0.1:7402
  $ understudy lost-tail apply data/a 3-1043-1100-0badcafe tcp://127.0.0.1:7402 --json
  $ understudy lost-tail discard data/a 3-1043-1100-0badcafe`

export function addLostTailCommand(program: Command, context: CommandContext): void {
  const parent = program
    .command('lost-tail')
    .description(
      'What a former leader alone had: look at it, compare it with the new history, apply or discard it.',
    )
    .addHelpText('after', EXAMPLES)
  ofDirectory(parent, 'list', "The lost tails in a node's directory.").action(
    (directory: string, options: JsonOption) => list(directory, options, context),
  )
  ofTail(
    parent,
    'show',
    'Its transactions in order: rows before and after, SQL, and how far each had got.',
  ).action((directory: string, id: string, options: JsonOption) => show(directory, id, options, context))
  againstLeader(
    parent,
    'diff',
    'Compares each change with the new history: clean, already there, conflict, id taken.',
  ).action((directory: string, id: string, address: string, options: RemoteOptions) =>
    diff({ directory, id, address }, options, context),
  )
  againstLeader(
    parent,
    'apply',
    'Applies every transaction that is clean as a whole, all in one write. A second time does nothing.',
  ).action((directory: string, id: string, address: string, options: RemoteOptions) =>
    apply({ directory, id, address }, options, context),
  )
  ofTail(parent, 'discard', 'Removes it for good.').action(
    (directory: string, id: string, options: JsonOption) => discard(directory, id, options, context),
  )
}

function ofDirectory(parent: Command, name: string, description: string): Command {
  return parent
    .command(name)
    .description(description)
    .argument('<directory>', "a node's directory")
    .option('--json', name === 'show' ? 'one JSON object per transaction' : 'one JSON object')
    .addHelpText('after', EXAMPLES)
}

function ofTail(parent: Command, name: string, description: string): Command {
  return ofDirectory(parent, name, description).argument('<id>', 'as list names it')
}

function againstLeader(parent: Command, name: string, description: string): Command {
  return addAccessOptions(ofTail(parent, name, description))
    .argument('<address>', 'address of the leader')
    .addHelpText('after', ADDRESSES)
}

function list(directory: string, options: JsonOption, { output }: CommandContext): void {
  const files = nodeFiles()
  const found = listLostTails(files, lostTailDirectory(directory)).map((file) => {
    const { header, transactions } = readLostTail(files, file.path, allFormats())
    const changes = transactions.reduce((sum, transaction) => sum + transaction.changes.length, 0)
    return { file, header, transactions: transactions.length, changes }
  })
  if (options.json === true) {
    const tails = found.map(({ file, header, ...counts }) => ({
      id: file.id,
      path: file.path,
      applied: file.applied,
      node: header.node,
      common: formatPosition(header.common),
      ...(header.after !== undefined && { after: formatPosition(header.after) }),
      end: formatPosition(header.end),
      exportedAt: new Date(header.exportedAtMs).toISOString(),
      ...counts,
    }))
    return output.out(json({ ok: true, lostTails: tails }))
  }
  if (found.length === 0) return output.out('no lost tails')
  const rows = found.map(({ file, header, transactions, changes }) => [
    file.id,
    `${formatPosition(header.common)} … ${formatPosition(header.end)}`,
    transactions,
    changes,
    new Date(header.exportedAtMs).toISOString(),
    file.applied === undefined ? '' : `applied ${file.applied.position ?? ''}`.trimEnd(),
  ])
  output.out(table(['id', 'after … through', 'transactions', 'rows', 'kept at', ''], rows))
}

function show(directory: string, id: string, options: JsonOption, { output }: CommandContext): void {
  const { tail } = open(directory, id)
  const { common, after } = tail.header
  if (after !== undefined && options.json !== true)
    output.out(
      pc.yellow(
        `records after ${formatPosition(common)} through ${formatPosition(after)} were not in the log any more`,
      ),
    )
  for (const transaction of tail.transactions) {
    if (options.json === true) output.out(json(plain(transaction)))
    else for (const line of describeTransaction(transaction)) output.out(line)
  }
}

interface Target {
  readonly directory: string
  readonly id: string
  readonly address: string
}

async function diff(target: Target, options: RemoteOptions, { output }: CommandContext): Promise<void> {
  const { tail } = open(target.directory, target.id)
  const access = accessOf(options)
  const classification = await withClients([target.address], access, ([client]) => compare(tail, client!))
  if (options.json === true) return output.out(json({ ok: true, ...plainDiff(classification) }))
  for (const { transaction, changes, decision, reason } of classification.transactions) {
    output.out(`${headOf(transaction)} ${pc.bold(decision)}${reason === undefined ? '' : `: ${reason}`}`)
    for (const { change, verdict, reason: why, found } of changes) {
      const now = found === undefined || verdict === 'clean' ? '' : `, now ${json(found)}`
      output.out(`  ${verdict}: ${describeChange(change)}${why === undefined ? '' : ` (${why}${now})`}`)
    }
  }
  const { clean, alreadyThere, idTaken, conflict } = classification.counts
  output.out(
    `${clean} clean, ${alreadyThere} already there, ${conflict} in conflict, ${idTaken} with an id that is taken`,
  )
}

async function apply(target: Target, options: RemoteOptions, { output }: CommandContext): Promise<void> {
  const { file, tail } = open(target.directory, target.id)
  const done = file.applied ?? (await applyTo(file, tail, target.address, accessOf(options)))
  const again = file.applied !== undefined
  if (options.json === true) return output.out(json({ ok: true, alreadyApplied: again, ...done }))
  const skipped = done.of - done.transactions
  output.out(
    (again ? 'applied before: ' : '') +
      `${done.transactions} of ${done.of} transactions are in the new history` +
      (done.position === undefined ? '' : `, at ${done.position}`) +
      (skipped === 0 ? '' : `; ${skipped} were left out: see diff`),
  )
}

async function applyTo(file: LostTailFile, tail: LostTail, address: string, access: Access) {
  return withClients([address], access, async ([client]) => {
    const leader = await leaderOf(client!, access)
    try {
      const classification = await compare(tail, leader)
      const position = await write(leader, classification)
      const { transactions } = classification
      const note = {
        ...(position !== undefined && { position: formatPosition(position) }),
        atMs: systemClock().now(),
        transactions: transactions.filter(({ decision }) => decision !== 'skip').length,
        of: transactions.length,
      }
      // One that brought nothing is tried again another time.
      if (note.transactions > 0) noteApplied(nodeFiles(), file, note)
      return note
    } finally {
      if (leader !== client) await leader.close()
    }
  })
}

async function write(leader: Client, classification: Classification): Promise<Position | undefined> {
  const statements = statementsFor(classification)
  if (statements.length === 0) return undefined
  try {
    return (await leader.write(statements)).position
  } catch (error) {
    if (!isUnderstudyError(error, 'SQL_FAILED')) throw error
    throw new UnderstudyError(
      'SQL_FAILED',
      `The lost tail was not applied, nothing of it: a row changed since it was compared, or a constraint of the new history forbids it (${error.message}). Run diff again.`,
      { cause: error },
    )
  }
}

function discard(directory: string, id: string, options: JsonOption, { output }: CommandContext): void {
  const files = nodeFiles()
  const file = findLostTail(files, lostTailDirectory(directory), id)
  discardLostTail(files, file)
  if (options.json === true) output.out(json({ ok: true, discarded: id }))
  else output.out(`${id} was removed for good`)
}

function open(directory: string, id: string): { readonly file: LostTailFile; readonly tail: LostTail } {
  const files = nodeFiles()
  const file = findLostTail(files, lostTailDirectory(directory), id)
  return { file, tail: readLostTail(files, file.path, allFormats()) }
}

async function compare(tail: LostTail, client: Client): Promise<Classification> {
  if (client.cluster !== tail.header.cluster) {
    throw new UnderstudyError(
      'FOREIGN_CLUSTER',
      `The lost tail is of cluster ${tail.header.cluster}, ${client.address} of ${client.cluster}. Nothing was compared or written.`,
    )
  }
  return classify(tail, async (sql, parameters) => (await client.read(sql, parameters)).rows)
}

async function leaderOf(client: Client, access: Access): Promise<Client> {
  const { following } = (await client.status()) as { following?: { leader?: string } }
  if (following?.leader === undefined) return client
  assertNotWeaker(client.address, following.leader)
  return connectTo(following.leader, access)
}

function plain(transaction: LostTransaction): object {
  const { position, committedAtMs, format, level, writes, changes, sql, unclear, described } = transaction
  return {
    position: formatPosition(position),
    committedAt: new Date(committedAtMs).toISOString(),
    format,
    level,
    writes,
    changes,
    sql,
    unclear,
    ...(changes.length === 0 && { described }),
  }
}

function plainDiff({ transactions, counts }: Classification): object {
  return {
    counts,
    transactions: transactions.map(({ transaction, changes, decision, reason }) => ({
      position: formatPosition(transaction.position),
      level: transaction.level,
      decision,
      reason,
      changes: changes.map(({ change, ...rest }) => ({ ...change, ...rest })),
    })),
  }
}

const LEVELS = {
  local: 'answered, on this node alone',
  acked: 'acknowledged by the set',
  unmet: 'answered without the acks that it asked for',
  unacked: 'waited for acks, never answered',
} as const

function headOf({ position, level, format }: LostTransaction): string {
  return `${pc.bold(formatPosition(position))} ${format}, ${LEVELS[level]}:`
}

function* describeTransaction(transaction: LostTransaction): Generator<string> {
  const { writes, committedAtMs, changes, sql, unclear } = transaction
  const count = writes === undefined ? '' : `, ${writes} ${writes === 1 ? 'write' : 'writes'}`
  yield `${headOf(transaction)} ${new Date(committedAtMs).toISOString()}${count}`
  for (const change of changes) yield `  ${describeChange(change)}`
  for (const text of sql) yield `  ${text}`
  if (unclear !== undefined) yield pc.yellow(`  ${unclear}: it is not applied`)
}

function describeChange({ operation, table: name, before, after }: LostChange): string {
  if (operation === 'insert') return `insert ${name} ${json(after)}`
  if (operation === 'delete') return `delete ${name} ${json(before)}`
  return `update ${name} ${json(before)} to ${json(after)}`
}
