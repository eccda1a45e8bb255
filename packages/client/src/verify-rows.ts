/** Finding the rows that differ, of a table and two nodes whose views at one marker are kept. */
import type { Position } from '@understudy/contracts'
import type { TableRows } from '@understudy/protocol'
import type { CallOptions, Client } from './client.ts'
import { RowDifference, type OneSide, type Side } from './row-difference.ts'

export interface RowComparison {
  readonly table: string
  /** Compared with the leader. */
  readonly node: string
  /** Columns of the PRIMARY KEY; empty when there is none. */
  readonly key: readonly string[]
  /** Of the values of each row: on the leader, or on the node when the leader lacks the table. */
  readonly columns: readonly string[]
  readonly onlyLeader: OneSide
  readonly onlyNode: OneSide
  /** `false`: so much differs that the comparison ended early; the counts are what was found by then. */
  readonly complete: boolean
}

export interface RowsProgress {
  readonly table: string
  readonly node: string
  /** Compared so far, of both nodes together. */
  readonly rows: number
}

export interface RowsOptions {
  /** Rows shown for each table and side. Default 100. */
  readonly max?: number
  readonly onProgress?: (progress: RowsProgress) => void
}

export const ROWS_SHOWN_MAX = 100

interface Stream {
  readonly side: Side
  readonly client: Client
  offset: number
  ended: boolean
  first: TableRows | undefined
}

/** `has`: which of the two has the table at all. Rejects as a call of a client does. */
export async function compareRows(
  at: Position,
  table: string,
  clients: Readonly<Record<Side, Client>>,
  has: Readonly<Record<Side, boolean>>,
  options: RowsOptions,
  call: CallOptions,
): Promise<RowComparison> {
  const difference = new RowDifference()
  const streams = (['leader', 'node'] as const).map((side): Stream => ({
    side,
    client: clients[side],
    offset: 0,
    ended: !has[side],
    first: undefined,
  }))
  for (;;) {
    const open = streams.filter(({ ended }) => !ended)
    // The side that is behind: pages are of different lengths where rows are. Both, when they are level.
    const least = Math.min(...open.map(({ offset }) => offset))
    if (open.length === 0 || difference.isFull) break
    const next = open.filter(({ offset }) => offset === least)
    const pages = await Promise.all(next.map(({ client, offset }) => client.rows(at, table, offset, call)))
    for (const [index, page] of pages.entries()) take(next[index] as Stream, page, difference)
    const rows = streams.reduce((sum, { offset }) => sum + offset, 0)
    options.onProgress?.({ table, node: clients.node.node, rows })
  }
  const { max = ROWS_SHOWN_MAX } = options
  const described = streams.find(({ first }) => first !== undefined)?.first
  return {
    table,
    node: clients.node.node,
    key: described?.key ?? [],
    columns: described?.columns.slice(1) ?? [],
    onlyLeader: difference.only('leader', max),
    onlyNode: difference.only('node', max),
    complete: streams.every(({ ended }) => ended),
  }
}

function take(stream: Stream, page: TableRows, difference: RowDifference): void {
  stream.first ??= { ...page, rows: [] }
  stream.offset += page.rows.length
  stream.ended = page.rows.length === 0
  for (const row of page.rows) difference.add(stream.side, row)
}
