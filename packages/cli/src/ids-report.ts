/** What a node says of ids, as text: nothing while there is nothing to know. */
import type { NodeStatus } from '@understudy/node'

/** Tables that are named; more are only counted. */
const TABLES_MAX = 8

export function describeIds({ node, ids }: Pick<NodeStatus, 'node' | 'ids'>): string[] {
  if (ids === undefined || ids.tables.length === 0) return []
  const { tables, proven, confirmedBy, members = [], away = [], waiting } = ids
  const each = tables
    .slice(0, TABLES_MAX)
    .map(({ table, given, ceiling }) => `${table} ${given === undefined ? '' : `${given} of `}${ceiling}`)
  const more = tables.length > TABLES_MAX ? [`${tables.length - TABLES_MAX} tables more`] : []
  const list = [...each, ...more].join(', ')
  if (proven !== undefined) {
    const whether = proven ? 'the newest ceilings are proven' : 'it cannot prove the newest ceilings'
    return [`ids of ${node}: ${list}; ${whether}`]
  }
  const names = members.map((name) => (away.includes(name) ? `${name} (away)` : name)).join(', ')
  const by = confirmedBy === 'members' ? (names === '' ? 'this node alone' : names) : String(confirmedBy)
  return [
    `ids of ${node}: ${list}; ceilings confirmed by ${by}${waiting === true ? ', and writes wait for that' : ''}`,
  ]
}
