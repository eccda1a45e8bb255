/**
 * Position tokens: what a session has seen, as a text that another process can go on from.
 *
 * Decides: what a token says, which of two is further, which others a read must be checked against. Leaves to nodes: whether their
 * history holds it.
 *
 * 1. A token names one record of one cluster for ever: cluster, epoch with run id, LSN, CRC. So every node can tell whether it holds it.
 * 2. Within one epoch the higher LSN implies the lower one. Of two epochs neither implies the other: the record of the lower one may be
 *    in a tail that was lost. So a set of tokens keeps the highest of each epoch until a node has said that the lower ones are in the
 *    history of the higher one.
 */
import {
  UnderstudyError,
  comparePositions,
  formatPosition,
  type Position,
  type PositionProof,
} from '@understudy/contracts'

export interface Token extends Position, PositionProof {
  readonly cluster: string
}

const VERSION = 'u1'
/** Epochs of which a session keeps a token that no node has judged. */
const UNJUDGED_MAX = 16

/** Letters, digits, dots and dashes: fit for a cookie, a header or a URL. */
export function formatToken({ cluster, epoch, lsn, crc, runId }: Token): string {
  return `${VERSION}.${cluster}.${epoch}.${lsn}.${crc.toString(16).padStart(8, '0')}.${runId}`
}

/** Throws `INVALID_ARGUMENT` for what `formatToken` did not write. */
export function parseToken(text: string): Token {
  const match = /^u1\.([\w-]{1,255})\.(\d{1,15})\.(\d{1,15})\.([0-9a-f]{8})\.([0-9a-f]{16})$/.exec(text)
  if (match === null)
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      'This is no token of a session: give one as `client.token` had it. Nothing was sent.',
    )
  const [, cluster = '', epoch, lsn, crc = '', runId = ''] = match
  return { cluster, epoch: Number(epoch), lsn: Number(lsn), crc: Number.parseInt(crc, 16), runId }
}

/** The highest of each epoch, ascending. Of one epoch with two run ids both stay: one of them is lost. */
export function highestOfEach(tokens: readonly Token[]): readonly Token[] {
  const highest = new Map<string, Token>()
  for (const token of tokens) {
    const of = `${token.epoch} ${token.runId}`
    const other = highest.get(of)
    if (other === undefined || other.lsn < token.lsn) highest.set(of, token)
  }
  return [...highest.values()].sort(comparePositions)
}

/** What one client has seen of the database. */
export class Session {
  #tokens: readonly Token[] = []

  /** The highest token. */
  get token(): Token | undefined {
    return this.#tokens.at(-1)
  }

  /** Every token that a read must not be older than, ascending: more than one only after a change of the epoch. */
  get tokens(): readonly Token[] {
    return this.#tokens
  }

  /** A write, or a read, was at this position. */
  saw(token: Token): void {
    const highest = this.#tokens.at(-1)
    if (highest !== undefined && highest.epoch === token.epoch && highest.runId === token.runId) {
      if (highest.lsn < token.lsn) this.#tokens = [...this.#tokens.slice(0, -1), token]
      return
    }
    this.#tokens = highestOfEach([...this.#tokens, token]).slice(-UNJUDGED_MAX)
  }

  /** A node whose history holds `above` holds these too: they are implied by it from now on. */
  implied(tokens: readonly Token[]): void {
    const gone = new Set(tokens)
    this.#tokens = this.#tokens.filter((token) => !gone.has(token))
  }

  /** Begins anew: what was lost is accepted as lost. */
  reset(token?: Token): void {
    this.#tokens = token === undefined ? [] : [token]
  }
}

export function foreignToken(token: Token, cluster: string): UnderstudyError {
  return new UnderstudyError(
    'FOREIGN_CLUSTER',
    `The token is of cluster ${token.cluster}; this client talks to ${cluster}. Nothing was read; use the token where it comes from.`,
  )
}

/** A node's history holds something else where the token stands. */
export function lostToken(token: Token, reason: string, cause?: unknown): UnderstudyError {
  const { epoch, lsn, crc, cluster, runId } = token
  return new UnderstudyError(
    'POSITION_LOST',
    `What this session saw at ${formatPosition(token)} was lost in a failover: ${reason}. Nothing was read. ` +
      'Look at the lost tail of the former leader; then go on without it: `client.resetToken()`.',
    { position: { epoch, lsn }, crc, runId, cluster, cause },
  )
}
