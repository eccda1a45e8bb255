/**
 * A node's metrics in Prometheus' text format: a registry of its own, filled when somebody asks.
 *
 * Decides: what becomes of a sample that is not known (none), of a node that has not started (only what the monitor itself counts).
 * Leaves to others: which metrics there are of a status (families), the format (prom-client).
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { CommitMeasuresSnapshot, HistogramSnapshot, NodeEvent, NodeStatus } from '@understudy/node'
import { families } from './families.ts'
import type { Family } from './family.ts'
import { LeaderChanges, type LeaderCounters } from './leader-changes.ts'

export interface MetricsSource {
  readonly status: () => NodeStatus | undefined
  readonly measures: () => CommitMeasuresSnapshot | undefined
}

export interface Metrics {
  readonly contentType: string
  text(): Promise<string>
  /** This node told something. */
  told(event: NodeEvent, node: string): void
  /** So many events were dropped, because they were not read in time. */
  dropped(count: number): void
}

export function createMetrics(source: MetricsSource): Metrics {
  const registry = new Registry()
  let status: NodeStatus | undefined
  let measures: CommitMeasuresSnapshot | undefined
  for (const family of families()) registry.registerMetric(gaugeOf(family, () => status))
  for (const [name, help, unit, read] of HISTOGRAMS)
    registry.registerMetric(new ReadHistogram(name, help, unit, () => measures && read(measures)))
  const events = new Counter({
    name: 'understudy_events_total',
    help: 'Events that the node told since the monitor began, by kind.',
    labelNames: ['kind'],
    registers: [registry],
  })
  const counters = leaderCounters()
  const changes = new LeaderChanges(counters)
  let hasFailover = false
  return {
    contentType: registry.contentType,
    text: () => {
      // One look for all samples, so that they fit each other; they are read before anything else runs.
      status = source.status()
      measures = source.measures()
      // A count of what cannot happen would be a claim.
      if (!hasFailover && status?.failover !== undefined) {
        hasFailover = true
        for (const counter of Object.values(counters)) registry.registerMetric(counter)
      }
      return registry.metrics()
    },
    told: (event, node) => {
      events.inc({ kind: event.kind })
      changes.look(event, node)
    },
    dropped: (count) => events.inc({ kind: 'eventsDropped' }, count),
  }
}

function leaderCounters(): LeaderCounters {
  const counter = (name: string, help: string): Counter =>
    new Counter({ name: `understudy_${name}_total`, help, registers: [] })
  return {
    failovers: counter(
      'failovers',
      'Times that another node began to lead, as this one saw it since the monitor began; planned ones too.',
    ),
    promotions: counter('promotions', 'Times that this node began to lead, with failover.'),
    refusals: counter('promotions_refused', 'Times that this node found that nobody may be promoted.'),
    stepDowns: counter('step_downs', 'Times that this node stopped leading, with failover.'),
  }
}

const HISTOGRAMS: readonly [
  name: string,
  help: string,
  unit: number,
  read: (measures: CommitMeasuresSnapshot) => HistogramSnapshot,
][] = [
  [
    'understudy_commit_duration_seconds',
    'From the call of a write to its answer.',
    1000,
    ({ commitMs }) => commitMs,
  ],
  ['understudy_group_writes', 'Writes that shared one group commit.', 1, ({ groupWrites }) => groupWrites],
  ['understudy_log_sync_duration_seconds', 'One fdatasync of the log.', 1000, ({ syncMs }) => syncMs],
  [
    'understudy_ack_wait_duration_seconds',
    'From when a group is durable on the leader until its set has it.',
    1000,
    ({ ackWaitMs }) => ackWaitMs,
  ],
]

function gaugeOf({ name, help, labels, read }: Family, status: () => NodeStatus | undefined): Gauge {
  return new Gauge({
    name,
    help,
    labelNames: labels,
    registers: [],
    collect() {
      this.reset()
      // Without labels a reset leaves a 0 behind.
      if (labels.length === 0) this.remove()
      const now = status()
      if (now === undefined) return
      for (const sample of read(now))
        if (sample.value !== undefined) this.set(sample.labels ?? {}, sample.value)
    },
  })
}

/** A histogram that somebody else fills: what it exports is read from there. */
class ReadHistogram extends Histogram {
  readonly #name: string
  readonly #help: string
  readonly #unit: number
  readonly #read: () => HistogramSnapshot | undefined

  /** `unit`: how many of what is counted are one of what is shown. */
  constructor(name: string, help: string, unit: number, read: () => HistogramSnapshot | undefined) {
    super({ name, help, registers: [] })
    this.#name = name
    this.#help = help
    this.#unit = unit
    this.#read = read
  }

  override get(): ReturnType<Histogram['get']> {
    const exported = {
      name: this.#name,
      help: this.#help,
      type: 'histogram',
      aggregator: 'sum',
      values: this.#values(),
    }
    return Promise.resolve(exported as unknown as Awaited<ReturnType<Histogram['get']>>)
  }

  /** What the registry asks for when it writes text. */
  getForPromString(): ReturnType<Histogram['get']> {
    return this.get()
  }

  #values(): readonly { metricName: string; value: number; labels: Record<string, string | number> }[] {
    const snapshot = this.#read()
    if (snapshot === undefined) return []
    const { bounds, counts, sum, count } = snapshot
    let below = 0
    const buckets = counts.map((each, index) => {
      const bound = bounds[index]
      below += each
      const le = bound === undefined ? '+Inf' : bound / this.#unit
      return { metricName: `${this.#name}_bucket`, value: below, labels: { le } }
    })
    return [
      ...buckets,
      { metricName: `${this.#name}_sum`, value: sum / this.#unit, labels: {} },
      { metricName: `${this.#name}_count`, value: count, labels: {} },
    ]
  }
}
