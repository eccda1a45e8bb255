/**
 * Understudy itself: a leader and its followers, each a process of its own, for every combination of log format, transport and ack policy,
 * with callers that come over the network or live in the leader's process.
 *
 * Decides: the variants, and how a client's operations travel. Leaves to understudy-instance.ts starting and ending the nodes.
 */
import { connect, type Client, type ClientStatement } from '@understudy/client'
import { ACKS_DEFAULT } from '../acks/policies.ts'
import { FORMAT_NAMES } from '../formats.ts'
import type { Statement, Step } from '../workloads/workload.ts'
import { dialAccess, type WireName } from '../wire.ts'
import type { Connections, Settings, Subject } from './subject.ts'
import { startUnderstudy, type UnderstudyEndpoint } from './understudy-instance.ts'

export const WIRE_NAMES: readonly WireName[] = ['tcp', 'ws']
/** `client`: a process of their own that connects to the leader. `embedded`: in the leader's process. */
export const CALLER_NAMES = ['client', 'embedded'] as const
export type CallerName = (typeof CALLER_NAMES)[number]

/** Rows of one INSERT of a client, which may send at most 65,536 statements in a write. */
const ROWS_PER_STATEMENT = 100

export interface Axes {
  readonly formats?: readonly string[]
  readonly transports?: readonly string[]
  readonly acks?: readonly string[]
  readonly callers?: readonly string[]
  /** Milliseconds that are added to each round trip between the leader and its followers; 0: none, and no relay. */
  readonly roundTripsMs?: readonly number[]
}

/** Every combination. The format changes fastest, so that formats are measured beside each other. */
export function understudyVariants({
  formats = FORMAT_NAMES,
  transports = WIRE_NAMES,
  acks = ACKS_DEFAULT,
  callers = ['client'],
  roundTripsMs = [0],
}: Axes = {}): readonly Settings[] {
  return roundTripsMs.flatMap((roundTripMs) =>
    callers.flatMap((caller) =>
      acks.flatMap((ack) =>
        transports.flatMap((transport) =>
          formats.map((format) => ({
            format,
            transport,
            ack,
            callers: caller,
            ...(roundTripMs > 0 && { roundTrip: `${roundTripMs}ms` }),
          })),
        ),
      ),
    ),
  )
}

export const subject: Subject = {
  name: 'understudy',
  title: 'Understudy, replicated',
  variants: understudyVariants(),
  find: () =>
    Promise.resolve({
      version: `Node.js ${process.versions.node}, SQLite ${process.versions['sqlite'] ?? 'unknown'}`,
    }),
  start: startUnderstudy,
  connect: async (endpoint) => {
    const { address, transport } = endpoint as UnderstudyEndpoint
    const client = await connect({
      ...(await dialAccess({ transport }, 'client')),
      address,
      timeoutMs: 120_000,
    })
    return new ClientConnections(client)
  },
}

/** All writers share one connection, on which calls overlap, as those of a program do. */
class ClientConnections implements Connections {
  readonly #client: Client

  constructor(client: Client) {
    this.#client = client
  }

  /** The LSN of a write. */
  run(step: Step): Promise<number | undefined> {
    if (step.kind === 'read')
      return this.#client.read(step.statement.sql, step.statement.params).then(() => undefined)
    return this.#client
      .write(step.statements.flatMap((statement) => clientStatements(statement)))
      .then(({ position }) => position?.lsn)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.close()
  }
}

/** A statement that runs for many rows becomes statements of many rows each, where it is an INSERT that ends with its values. */
export function clientStatements({ sql, params = [], many }: Statement): readonly ClientStatement[] {
  if (many === undefined) return [{ sql, params }]
  const found = /^(insert .*values\s*)(\([?,\s]*\))$/is.exec(sql)
  if (found === null) return many.map((each) => ({ sql, params: each }))
  const [, head, row] = found as unknown as readonly [string, string, string]
  const statements: ClientStatement[] = []
  for (let from = 0; from < many.length; from += ROWS_PER_STATEMENT) {
    const rows = many.slice(from, from + ROWS_PER_STATEMENT)
    statements.push({ sql: head + rows.map(() => row).join(', '), params: rows.flat() })
  }
  return statements
}
