/** What a node answers its clients: the bridge from `server` to the node's own methods. */
import {
  UnderstudyError,
  type EpochHistory,
  type LogPoint,
  type PositionProof,
  type WriteTransaction,
} from '@understudy/contracts'
import type { Leadership, ResultSet, SqlStatement } from '@understudy/protocol'
import { checkSteps, type PolicyOptions } from '@understudy/replication'
import type { ClientHandlers, WhoLeadsRequest, WriteAnswer, WriteRequest } from '@understudy/server'
import type { UnderstudyNode } from './api.ts'
import { fingerprintOf, openRead, openWrite, readStatement, runClientSteps } from './client-sql.ts'

/** What the handlers need of a node beside what its user sees. */
export interface Behind {
  history(): EpochHistory
  whoLeads(request: WhoLeadsRequest): Promise<Leadership>
  /** Sends a client's write on to the leader; `undefined` where this node does not, or leads. */
  forward(statements: readonly SqlStatement[], request: WriteRequest): Promise<WriteAnswer> | undefined
}

/** Handlers that serve `node`. */
export function clientHandlers(node: UnderstudyNode, behind: Behind): ClientHandlers {
  return {
    status: () => node.status(),
    whoLeads: (request) => behind.whoLeads(request),
    async write(statements, request) {
      checkSteps(statements)
      const sentOn = behind.forward(statements, request)
      if (sentOn !== undefined) return sentOn
      const { rowsMax, bytesMax, bigints = false, author: _, epoch: __, forwarded: ___, ...asks } = request
      const limits = { rowsMax, bytesMax, bigints }
      const body = (tx: WriteTransaction): ResultSet[] => runClientSteps(tx, statements, limits)
      const answer = await node.write(body, {
        // A name that is no follower's would hold up everybody's writes.
        ...(asks.of && { onlyIfReady: true }),
        ...asks,
        ...(asks.key && { fingerprint: fingerprintOf(statements) }),
      })
      const { value, receipt, replayed, valueKept } = answer
      const says = replayed === undefined ? {} : { replayed, valueKept: valueKept === true }
      return { results: value ?? [], position: receipt.position, receipt, ...says }
    },
    async read(statement, { after, stalenessMsMax, timeoutMs, signal, ...limits }) {
      let position: LogPoint | undefined
      const result = await node.read(
        (tx) => {
          assertFresh(node, stalenessMsMax)
          const read = readStatement(tx, statement, limits)
          position = node.applied
          return read
        },
        { ...(after && { after }), timeoutMs, signal, foreign: true },
      )
      const proof = proofOf(position, behind.history())
      return { result, position, ...(proof && { proof }) }
    },
    describe: (sql) => node.read((tx) => tx.describe(sql), { foreign: true }),
    openRead: (request) => openRead(node, (at) => proofOf(at, behind.history()), request),
    openWrite: (request) => openWrite(node, request),
    mark: () => node.mark(),
    async digest(at, options) {
      return { position: at, tables: await node.digest(at, options) }
    },
    rows: (at, table, offset) => node.rows(at, table, offset),
    verdict: (receipt) => node.verdict(receipt),
    reach: (receipt, { level, count, ...waiting }) => node.reach(receipt, level, count, waiting),
    release: (at) => node.release(at),
    exposure: (options) => node.exposure(options),
    slots: () => node.slots(),
    dropSlot: (name) => node.dropSlot(name),
    forget: (name) => node.forget(name),
    promote: (request) => node.promote(request),
    switchover: (request) => node.switchover(request),
    pauseFailover: (paused) => node.pauseFailover(paused),
    decisions: (request) => node.decisions(request),
    switchFormat: (format) => node.switchFormat(format),
    setAcks: ({ rule, acceptLoss, ...policy }) =>
      node.setAcks(rule, {
        acceptLoss,
        ...(policy as Pick<PolicyOptions, 'onUnmet' | 'visibility' | 'ackTimeoutMs'>),
      }),
  }
}

/** In the turn of the read, so that nothing becomes old in between. */
function assertFresh(node: UnderstudyNode, stalenessMsMax: number | undefined): void {
  if (stalenessMsMax === undefined) return
  const { stalenessMs } = node.leadership()
  if (stalenessMs !== undefined && stalenessMs <= stalenessMsMax) return
  const what =
    stalenessMs === undefined
      ? 'cannot prove how old its reads are'
      : `may be ${Math.ceil(stalenessMs)} ms behind`
  throw new UnderstudyError(
    'TOO_STALE',
    `Node ${node.name} ${what}; ${stalenessMsMax} ms are allowed. Nothing was read; ask another node, or the leader.`,
    { stalenessMs, stalenessMsMax },
  )
}

/** What tells the record that a reader saw from another one in its place. */
function proofOf(at: LogPoint | undefined, history: EpochHistory): PositionProof | undefined {
  const entry = at && history.findLast(({ number }) => number === at.epoch)
  return entry && { crc: at.crc, runId: entry.runId }
}
