/** The columns of the table of results, for a terminal and for a page: only those in which something stands. Pure. */
import type { Row } from './rows.ts'

export interface Column {
  readonly head: string
  /** What it is, for people. */
  readonly title: string
  /** Empty where it was not measured. */
  value(row: Row): string
  readonly isText?: boolean
}

const COLUMNS: readonly Column[] = [
  {
    head: 'subject',
    title: 'format / transport / acks / callers of Understudy; variants of peers',
    value: ({ name }) => name,
    isText: true,
  },
  {
    head: 'workload',
    title: 'and rows to begin with',
    value: ({ cell }) => `${cell.workload}${cell.rows === 0 ? '' : ` (${cell.rows.toLocaleString('en')})`}`,
    isText: true,
  },
  {
    head: 'writers',
    title: 'at once',
    value: ({ cell }) => `${cell.writers}${cell.rate === undefined ? '' : ` at ${cell.rate}/s`}`,
  },
  {
    head: 'ops/s',
    title: 'operations per second, median of the rounds',
    value: ({ operationsPerSecond }) => amount(operationsPerSecond.median),
  },
  {
    head: 'spread',
    title: 'lowest and highest round',
    value: ({ operationsPerSecond: { min, max } }) => `${amount(min)}–${amount(max)}`,
  },
  {
    head: 'vs sqlite',
    title: 'against bare SQLite with synchronous=FULL in the same round, median',
    value: ({ vsYardstick }) => amount(vsYardstick?.median),
  },
  { head: 'p50 ms', title: 'latency of an operation', value: ({ p50Ms }) => amount(p50Ms) },
  { head: 'p99 ms', title: 'latency of an operation', value: ({ p99Ms }) => amount(p99Ms) },
  { head: 'p99.9 ms', title: 'latency of an operation', value: ({ p999Ms }) => amount(p999Ms) },
  {
    head: 'lag p50',
    title:
      'ms from an answer until a reader on the replica that is furthest behind sees it, at half of the rate',
    value: ({ lag }) => amount(lag?.p50Ms),
  },
  { head: 'lag p99', title: 'the same, 99th percentile', value: ({ lag }) => amount(lag?.p99Ms) },
  {
    head: 'stale p99',
    title: 'ms: age of the oldest answered commit that a read on a replica did not see, 99th percentile',
    value: ({ staleness }) => amount(staleness?.p99Ms),
  },
  {
    head: 'wire B',
    title: 'bytes to and from all replicas for each commit',
    value: ({ wireBytesPerCommit }) => amount(wireBytesPerCommit),
  },
  {
    head: 'log B',
    title: "bytes in the leader's log for each commit",
    value: ({ logBytesPerCommit }) => amount(logBytesPerCommit),
  },
  {
    head: 'leader µs',
    title: 'processor time of the leader for each commit',
    value: (row) => amount(row.nodes?.['leader']?.cpuUsPerCommit),
  },
  {
    head: 'replicas µs',
    title: 'processor time of all replicas for each commit',
    value: (row) => amount(replicas(row, 'cpuUsPerCommit')),
  },
  {
    head: 'leader MiB',
    title: 'resident memory of the leader',
    value: (row) => amount(row.nodes?.['leader']?.residentMiB),
  },
  {
    head: 'bootstrap MiB/s',
    title: 'a new replica, until it shows all',
    value: ({ bootstrapMiBPerSecond }) => amount(bootstrapMiBPerSecond),
  },
  {
    head: 'catch-up/s',
    title: 'operations per second of a replica that was down',
    value: ({ catchUpPerSecond }) => amount(catchUpPerSecond),
  },
  {
    head: 'lost',
    title:
      'leader killed: acknowledged and gone if the best replica takes over / when the leader is back, of all acknowledged',
    value: ({ kill }) =>
      kill === undefined ? '' : `${kill.lostOnReplica} / ${kill.lostOnRestart} of ${kill.acknowledged}`,
  },
]

/** Those in which something stands. */
export function columnsOf(rows: readonly Row[]): readonly Column[] {
  return COLUMNS.filter((column) => rows.some((row) => column.value(row) !== ''))
}

/** Three digits, or all of those before the point. Empty for what was not measured. */
export function amount(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return ''
  if (value >= 1000) return Math.round(value).toLocaleString('en')
  return String(Number(value.toPrecision(3)))
}

function replicas({ nodes }: Row, key: 'cpuUsPerCommit' | 'residentMiB'): number | undefined {
  const others = Object.entries(nodes ?? {}).filter(([name]) => name !== 'leader' && name !== 'load')
  return others.length === 0 ? undefined : others.reduce((sum, [, use]) => sum + use[key], 0)
}
