/** `understudy status`: what nodes say of themselves, side by side. */
import type { Command } from 'commander'
import { isUnderstudyError, systemClock } from '@understudy/contracts'
import type { FailoverStatus, NodeStatus } from '@understudy/node'
import { accessOf, addAccessOptions, ADDRESSES, type Access, type AccessOptions } from '../access.ts'
import { describeAcks } from '../ack-report.ts'
import { connectTo } from '../connections.ts'
import { describeIds } from '../ids-report.ts'
import { bytes, json, table } from '../output.ts'
import { describeLag, followersOf } from '../followers.ts'
import type { CommandContext } from '../program.ts'

const EXAMPLES = `
Examples:
  $ understudy status tcp://127.0.0.1:7401
  $ understudy status tcp://127.0.0.1:7401 tcp://127.0.0.1:7402 --json`

/** One asked node: its answer, or why there is none. */
type Answer = { readonly address: string } & (
  | { readonly ok: true; readonly status: NodeStatus }
  | { readonly ok: false; readonly error: { readonly code: string; readonly message: string } }
)

export function addStatusCommand(program: Command, context: CommandContext): void {
  addAccessOptions(program.command('status'))
    .description(
      'Show role, position and lag of nodes, and of a leader every follower: those connected, and those gone whose slots are kept. Exits with 1 when one does not answer or has failed.',
    )
    .argument('<address...>', 'addresses of nodes')
    .option('--json', 'one JSON object')
    .addHelpText('after', EXAMPLES + ADDRESSES)
    .action(async (addresses: string[], options: AccessOptions & { readonly json?: boolean }) => {
      const access = accessOf(options)
      const answers = await Promise.all(addresses.map((address) => ask(address, access)))
      const ok = answers.every((answer) => answer.ok && answer.status.failure === undefined)
      if (!ok) context.exitCode = 1
      if (options.json === true) context.output.out(json({ ok, nodes: answers }))
      else show(answers, context)
    })
}

async function ask(address: string, access: Access): Promise<Answer> {
  try {
    const client = await connectTo(address, access)
    try {
      return { address, ok: true, status: (await client.status()) as unknown as NodeStatus }
    } finally {
      await client.close()
    }
  } catch (error) {
    if (!isUnderstudyError(error)) throw error
    return { address, ok: false, error: { code: error.code, message: error.message } }
  }
}

/** Both sides per group: a shadow that refuses groups has recorded fewer. */
function describeShadow(node: string, shadow: NonNullable<NodeStatus['shadow']>): string {
  const side = ({ format, groups, bytes: size, ms }: typeof shadow.primary): string => {
    const average =
      groups === 0 ? '' : `, ${bytes(Math.round(size / groups))} and ${(ms / groups).toFixed(3)} ms each`
    return `${format} ${groups} groups, ${bytes(size)}${average}`
  }
  const refused =
    shadow.lastReason === undefined ? '0 refused' : `${shadow.refused} refused, last: ${shadow.lastReason}`
  return `shadow of ${node}: ${side(shadow)}, ${refused}; in force: ${side(shadow.primary)}`
}

/** A certificate is told of a month before it ends. */
const EXPIRY_MS = 30 * 24 * 3600 * 1000

function warnings({ certificate, credentialsProblem }: NodeStatus): string[] {
  const lines: string[] = []
  if (certificate !== undefined && Date.parse(certificate.expires) < systemClock().now() + EXPIRY_MS)
    lines.push(`the certificate expires at ${certificate.expires}`)
  if (certificate?.problem !== undefined)
    lines.push(`the newest certificate is not in use: ${certificate.problem}`)
  if (credentialsProblem !== undefined)
    lines.push(`the newest list of credentials is not in force: ${credentialsProblem.message}`)
  return lines
}

/** Who leads, and what would happen without that one; more is in `failover status`. */
function forecastOf(node: string, { leader, coordinator, forecast }: FailoverStatus): string {
  const who = leader === undefined ? 'no leader is known' : `${leader.name} leads, epoch ${leader.epoch}`
  const paused = coordinator.paused ? ', automatic failover is paused' : ''
  return `failover of ${node}: ${who}${paused}; if the leader died now: ${forecast.summary}`
}

function show(answers: readonly Answer[], { output }: CommandContext): void {
  const rows = answers.map((answer) => {
    if (!answer.ok) return ['?', answer.address, '', answer.error.code, '', '', '']
    const { node, role, state, position, durable, following, log } = answer.status
    const lag = following === undefined ? '' : describeLag(following.lag)
    return [node, answer.address, role, state, position, durable, lag, `${log.first}..${log.end}`]
  })
  output.out(table(['node', 'address', 'role', 'state', 'position', 'durable', 'lag', 'log'], rows))
  for (const answer of answers) {
    if (!answer.ok) {
      output.out(`${answer.address}: ${answer.error.code} ${answer.error.message}`)
      continue
    }
    const { node, failure, following, shadow, acks, profile } = answer.status
    for (const line of warnings(answer.status)) output.out(`${node}: ${line}`)
    if (failure !== undefined) output.out(`${node}: ${failure.code} ${failure.message}`)
    if (following?.lastError !== undefined)
      output.out(`${node}: last ${following.lastError.code} ${following.lastError.message}`)
    if (shadow !== undefined) output.out(describeShadow(node, shadow))
    if (acks !== undefined && (acks.rule !== 'local' || acks.change !== undefined))
      output.out(`acks of ${node}: ${describeAcks(acks)}`)
    for (const line of describeIds(answer.status)) output.out(line)
    if (profile !== undefined) output.out(`profile of ${node}: ${profile}`)
    if (answer.status.failover !== undefined) output.out(forecastOf(node, answer.status.failover))
    for (const text of followersOf(answer.status)) output.out(text)
  }
}
