/**
 * Comparing the rows of all nodes at one position.
 *
 * A marker goes through the log, so that every node can freeze a view at exactly that record; writes go on meanwhile.
 * The digests themselves are the nodes' business: equal digests mean equal rows.
 */
import { formatPosition, isUnderstudyError, UnderstudyError, type Position } from '@understudy/contracts'
import type { CallOptions, Client, DigestReply } from './client.ts'
import { compareRows, type RowComparison, type RowsOptions } from './verify-rows.ts'

export interface VerifyOptions {
  readonly leader: Client
  /** The other nodes; the leader may be among them. */
  readonly nodes: readonly Client[]
  /** Milliseconds for each node to reach the marker and to digest its tables. Default: that of each client. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  /** Finds the rows that differ, as of the same position: of each node against the leader. Default: digests only. */
  readonly rows?: RowsOptions
}

export interface TableComparison {
  readonly table: string
  /** By name of the node; a node that lacks the table, or failed, is missing here. */
  readonly nodes: Readonly<Record<string, { readonly rows: number; readonly digest: string }>>
  /** Every node has the table, with the same rows. */
  readonly equal: boolean
}

export interface VerifyReport {
  /** Every node answered, and every table is equal on all. */
  readonly ok: boolean
  /** Of the marker. */
  readonly position: Position
  /** By name of the table. */
  readonly tables: readonly TableComparison[]
  /** Nodes that could not be compared, by name. */
  readonly failures: Readonly<Record<string, { readonly code: string; readonly message: string }>>
  /** With `rows`: for each node, each table that differs from the leader's. */
  readonly differences?: readonly RowComparison[]
}

/**
 * Writes a marker on the leader and compares every table of every node there. A node that fails or stays behind is named
 * in `failures`; only a failure to write the marker rejects, and `INVALID_ARGUMENT` when two nodes share a name.
 */
export async function verifyCluster(options: VerifyOptions): Promise<VerifyReport> {
  const { leader, nodes, timeoutMs, signal } = options
  const clients = [leader, ...nodes.filter((node) => node !== leader)]
  const names = clients.map((client) => client.node)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined)
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `Two of the nodes to compare are called ${twice}. Nothing was compared; give each address once, and each node a name of its own.`,
    )
  const call = {
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(signal === undefined ? {} : { signal }),
  }
  const position = await leader.mark(call)
  const keep = options.rows === undefined ? {} : { keep: true }
  const replies = await Promise.allSettled(
    clients.map(async (client) => {
      if (client.cluster !== leader.cluster) throw foreign(client, leader)
      // A node that stopped does not come to the marker: its digest would be waited for in vain.
      const stopped = options.rows === undefined ? undefined : await reasonOfStop(client, call)
      if (stopped !== undefined) return stopped
      return checkPosition(await client.digest(position, { ...call, ...keep }), position, client)
    }),
  )
  const digests = new Map<string, DigestReply>()
  const failures: Failures = new Map()
  for (const [index, reply] of replies.entries()) {
    const name = names[index] as string
    if (reply.status === 'rejected') failures.set(name, describe(reply.reason))
    else if ('code' in reply.value) failures.set(name, reply.value)
    else digests.set(name, reply.value)
  }
  const tables = compareTables(digests)
  const report = { position, tables }
  const { rows } = options
  if (rows === undefined)
    return { ok: isOk(failures, tables), ...report, failures: Object.fromEntries(failures) }
  const answered = clients.filter(({ node }) => digests.has(node))
  try {
    const differences = await findRows({ leader, answered, position, tables, rows, call, failures })
    return { ok: isOk(failures, tables), ...report, failures: Object.fromEntries(failures), differences }
  } finally {
    // A view that is not let go of here goes by itself.
    await Promise.allSettled(answered.map((client) => client.release(position, call)))
  }
}

type Failures = Map<string, { code: string; message: string }>

function isOk(failures: Failures, tables: readonly TableComparison[]): boolean {
  return failures.size === 0 && tables.every((table) => table.equal)
}

interface RowsSearch {
  readonly leader: Client
  /** The nodes whose views are kept. */
  readonly answered: readonly Client[]
  readonly position: Position
  readonly tables: readonly TableComparison[]
  readonly rows: RowsOptions
  readonly call: CallOptions
  readonly failures: Failures
}

/** A node that fails on the way is named in `failures`. */
async function findRows(search: RowsSearch): Promise<RowComparison[]> {
  const { leader, answered, position, tables, rows, call, failures } = search
  const found: RowComparison[] = []
  if (!answered.includes(leader)) return found
  for (const node of answered) {
    if (node === leader) continue
    try {
      for (const { table, nodes } of tables) {
        const [theirs, own] = [nodes[leader.node], nodes[node.node]]
        if (theirs?.rows === own?.rows && theirs?.digest === own?.digest) continue
        const has = { leader: theirs !== undefined, node: own !== undefined }
        found.push(await compareRows(position, table, { leader, node }, has, rows, call))
      }
    } catch (error) {
      failures.set(node.node, describe(error))
    }
  }
  return found
}

/** Why a node stopped for good, in its own words, and that its rows cannot be compared; `undefined` when it goes on. */
async function reasonOfStop(
  client: Client,
  call: CallOptions,
): Promise<{ code: string; message: string } | undefined> {
  const status = await client.status(call)
  const failure = status['failure'] as { readonly code: string; readonly message: string } | undefined
  if (failure === undefined) return undefined
  return {
    code: failure.code,
    message: `${failure.message} The node stopped at ${String(status['position'])}, before the marker, so its rows cannot be compared with the leader's of now.`,
  }
}

/** One comparison for each table that any node has, sorted by name. */
function compareTables(digests: ReadonlyMap<string, DigestReply>): TableComparison[] {
  const tables = new Map<string, Map<string, { rows: number; digest: string }>>()
  for (const [node, reply] of digests) {
    for (const { table, rows, digest } of reply.tables) {
      const nodes = tables.get(table) ?? new Map<string, { rows: number; digest: string }>()
      nodes.set(node, { rows, digest })
      tables.set(table, nodes)
    }
  }
  return [...tables]
    .map(([table, nodes]): TableComparison => {
      const found = [...nodes.values()]
      const first = found[0]
      const same = found.every((each) => each.rows === first?.rows && each.digest === first?.digest)
      return { table, nodes: Object.fromEntries(nodes), equal: same && found.length === digests.size }
    })
    .sort((a, b) => (a.table < b.table ? -1 : 1))
}

function checkPosition(reply: DigestReply, position: Position, client: Client): DigestReply {
  const { epoch, lsn } = reply.position
  if (epoch === position.epoch && lsn === position.lsn) return reply
  throw new UnderstudyError(
    'PROTOCOL_VIOLATION',
    `${client.node} digested its tables at ${formatPosition(reply.position)} instead of ${formatPosition(position)}. They were not compared.`,
  )
}

function foreign(client: Client, leader: Client): UnderstudyError {
  return new UnderstudyError(
    'FOREIGN_CLUSTER',
    `${client.node} belongs to cluster ${client.cluster}, the leader to ${leader.cluster}. It was not compared; check its address.`,
  )
}

function describe(error: unknown): { code: string; message: string } {
  if (isUnderstudyError(error)) return { code: error.code, message: error.message }
  return { code: 'REQUEST_FAILED', message: String(error) }
}
