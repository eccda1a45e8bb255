/** `understudy receipt`: what nodes say of a receipt that a write returned, now or long ago. */
import { text as readAll } from 'node:stream/consumers'
import { Option, type Command } from 'commander'
import { UnderstudyError, formatPosition, type AckLevel, type ReceiptReference } from '@understudy/contracts'
import { checkedReceipt } from '@understudy/replication'
import { accessOf, addAccessOptions, ADDRESSES, type AccessOptions } from '../access.ts'
import { positive } from '../arguments.ts'
import { withClients } from '../connections.ts'
import { json } from '../output.ts'
import type { CommandContext } from '../program.ts'

const RECEIPT = `
The receipt is the JSON that 'sql --json' printed, whole or its field receipt; without it, it is read from the standard input.`

const CHECK_EXAMPLES = `
Any node can be asked, a follower too. Exit code: 0 committed, 1 lost, 3 unknown yet.
${RECEIPT}

Examples:
  $ understudy sql tcp://127.0.0.1:7401 "insert into note (body) values ('x')" --json > receipt.json
  $ understudy receipt check tcp://127.0.0.1:7402 < receipt.json
  $ understudy receipt check tcp://127.0.0.1:7402 "$(cat receipt.json)" --json`

const REACH_EXAMPLES = `
Followers of whatever name count, while they stream. The leader is asked.
${RECEIPT}

Examples:
  $ understudy receipt reach tcp://127.0.0.1:7401 --level durable --count 2 < receipt.json
  $ understudy receipt reach tcp://127.0.0.1:7401 --level applied --timeout-ms 5000 --json < receipt.json`

interface Shared extends AccessOptions {
  readonly json?: boolean
}

interface ReachOptions extends Shared {
  readonly level: AckLevel
  readonly count: number
  readonly timeoutMs: number
}

/** Exit code of `check` while a receipt may still become committed or lost. */
const UNKNOWN = 3

export function addReceiptCommand(program: Command, context: CommandContext): void {
  const receipt = program
    .command('receipt')
    .description('Check the receipt of a write, or wait for followers.')
  addAccessOptions(receipt.command('check'))
    .description(
      'Whether a commit stands: committed, lost in an epoch, or unknown, by the history of a node.',
    )
    .argument('<address>', 'address of a node')
    .argument('[receipt]', 'the receipt as JSON')
    .option('--json', 'one JSON object')
    .addHelpText('after', CHECK_EXAMPLES + ADDRESSES)
    .action((address: string, text: string | undefined, options: Shared) =>
      check(address, text, options, context),
    )
  addAccessOptions(receipt.command('reach'))
    .description('Wait until followers have a commit.')
    .argument('<address>', 'address of the leader')
    .argument('[receipt]', 'the receipt as JSON')
    .addOption(
      new Option('--level <level>', 'where they must have it')
        .choices(['received', 'durable', 'applied'])
        .default('durable'),
    )
    .option('--count <n>', 'how many followers', positive, 1)
    .option('--timeout-ms <ms>', 'how long to wait', positive, 10_000)
    .option('--json', 'one JSON object')
    .addHelpText('after', REACH_EXAMPLES + ADDRESSES)
    .action((address: string, text: string | undefined, options: ReachOptions) =>
      reach(address, text, options, context),
    )
}

async function check(
  address: string,
  text: string | undefined,
  options: Shared,
  context: CommandContext,
): Promise<void> {
  const receipt = await readReceipt(text)
  const { node, said } = await withClients([address], accessOf(options), async ([client]) => ({
    node: client!.node,
    said: await client!.verdict(receipt),
  }))
  const { verdict, epoch, reason } = said
  context.exitCode = { committed: 0, lost: 1, unknown: UNKNOWN }[verdict]
  const position = formatPosition(receipt.position)
  if (options.json === true) return context.output.out(json({ ok: true, node, position, ...said }))
  const where = epoch === undefined ? '' : ` in epoch ${epoch}`
  context.output.out(`${position} ${verdict}${where} (${node}: ${reason})`)
}

async function reach(
  address: string,
  text: string | undefined,
  { level, count, timeoutMs, ...options }: ReachOptions,
  { output }: CommandContext,
): Promise<void> {
  const receipt = await readReceipt(text)
  const reached = await withClients([address], accessOf(options), ([client]) =>
    client!.reach(receipt, level, count, { timeoutMs }),
  )
  const position = formatPosition(receipt.position)
  if (options.json === true) return output.out(json({ ok: true, position, ...reached }))
  output.out(`${position} ${level} on ${reached.members.map(({ name }) => name).join(', ')}`)
}

/** Of a receipt alone, or of what `sql --json` printed. */
async function readReceipt(given: string | undefined): Promise<ReceiptReference> {
  const text = given ?? (await readAll(process.stdin))
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      'The receipt is no JSON. Nothing was asked; give what `understudy sql --json` printed, or the receipt that a write returned.',
      { cause: error },
    )
  }
  const isAnswer = typeof value === 'object' && value !== null && 'receipt' in value
  return checkedReceipt(isAnswer ? (value as { readonly receipt: unknown }).receipt : value)
}
