/** `understudy verify`: do all nodes hold the same rows, per table, at one position? Writes go on meanwhile. */
import { Option, type Command } from 'commander'
import pc from 'picocolors'
import { verifyCluster, type Client, type VerifyReport } from '@understudy/client'
import { UnderstudyError, formatPosition } from '@understudy/contracts'
import { positive } from '../arguments.ts'
import { accessOf, addAccessOptions, ADDRESSES, type AccessOptions } from '../access.ts'
import { withClients } from '../connections.ts'
import { json, table } from '../output.ts'
import { rowsProgress, showDifferences } from '../differences.ts'
import type { CommandContext } from '../program.ts'

const EXAMPLES = `
Examples:
  $ understudy verify tcp://127.0.0.1:7401 tcp://127.0.0.1:7402 tcp://127.0.0.1:7403
  $ understudy verify tcp://127.0.0.1:7401 tcp://127.0.0.1:7402 --rows
  $ understudy verify tcp://127.0.0.1:7401 tcp://127.0.0.1:7402 --json`

interface VerifyCommandOptions extends AccessOptions {
  readonly json?: boolean
  readonly rows?: boolean
  readonly timeout: number
}

export function addVerifyCommand(program: Command, context: CommandContext): void {
  addAccessOptions(program.command('verify'))
    .description(
      'Compare the rows of nodes at one position. Exits with 1 when a table differs or a node does not answer.',
    )
    .argument('<address...>', 'addresses of all nodes to compare, the leader among them')
    .addOption(
      new Option('--timeout <seconds>', 'how long the nodes may take').default(60).argParser(positive),
    )
    .option('--rows', 'also find the rows that differ from the leader, at the same position')
    .option('--json', 'one JSON object')
    .addHelpText('after', EXAMPLES + ADDRESSES)
    .action(async (addresses: string[], options: VerifyCommandOptions) => {
      const progress = rowsProgress(context.output)
      const report = await withClients(addresses, accessOf(options), async (clients) =>
        verifyCluster({
          leader: await findLeader(clients),
          nodes: clients,
          timeoutMs: options.timeout * 1000,
          ...(options.rows === true && { rows: { onProgress: progress.show } }),
        }),
      )
      progress.end()
      if (!report.ok) context.exitCode = 1
      if (options.json === true)
        context.output.out(json({ ...report, position: formatPosition(report.position) }))
      else show(report, context)
    })
}

async function findLeader(clients: readonly Client[]): Promise<Client> {
  for (const client of clients) {
    const { role } = await client.status()
    if (role === 'leader') return client
  }
  throw new UnderstudyError(
    'NOT_LEADER',
    'None of these nodes leads, so there is nobody to mark a position. Add the address of the leader.',
  )
}

function show(report: VerifyReport, { output }: CommandContext): void {
  const nodes = [...new Set(report.tables.flatMap(({ nodes }) => Object.keys(nodes)))]
  const rows = report.tables.map(({ table, nodes: digests, equal }) => [
    table,
    ...nodes.map((node) => {
      const digest = digests[node]
      return digest === undefined ? 'missing' : `${digest.rows} rows ${digest.digest.slice(0, 12)}`
    }),
    equal ? pc.green('equal') : pc.red('DIFFERENT'),
  ])
  output.out(table(['table', ...nodes, ''], rows))
  for (const [node, { code, message }] of Object.entries(report.failures))
    output.out(`${node}: ${pc.red(code)} ${message}`)
  showDifferences(report.differences ?? [], output)
  output.out(
    report.ok
      ? `${pc.green('ok')} the same rows at ${formatPosition(report.position)}`
      : pc.red(`not the same at ${formatPosition(report.position)}`),
  )
}
