/**
 * The report: one file of HTML that needs nothing else, no network and no scripts.
 *
 * Decides: what stands where. Leaves to others: figures (rows.ts, series.ts) and drawing (charts.ts).
 *
 * Validity: every text of a run (names, commands, versions) is escaped: workloads and peers may come from anybody's module.
 */
import type { Results } from '../matrix/results.ts'
import { bytesChart, lagChart, latencyChart, lossChart, throughputChart } from './charts.ts'
import { columnsOf } from './columns.ts'
import { rowsOf, type Row } from './rows.ts'
import {
  bytesPerCommit,
  lagOverTime,
  latencies,
  lossAgainstLatency,
  seriesName,
  shownWriters,
  throughput,
} from './series.ts'
import { STYLE } from './style.ts'

export function reportPage(results: Results): string {
  const rows = rowsOf(results)
  const workloads = [...new Set(rows.map(({ cell }) => cell.workload))]
  return [
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    `<title>Understudy: a comparison of ${escaped(results.startedAt.slice(0, 10))}</title><style>${STYLE}</style></head><body>`,
    head(results),
    rows.length === 0 ? '<p>Nothing was measured yet.</p>' : '',
    ...workloads.map((workload) =>
      section(
        workload,
        results,
        rows.filter(({ cell }) => cell.workload === workload),
      ),
    ),
    loss(rows),
    notMeasured(results),
    '</body></html>\n',
  ].join('\n')
}

/** Text as it stands in HTML, in attributes too. */
export function escaped(text: string): string {
  const entities: Readonly<Record<string, string>> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  }
  return text.replaceAll(/[&<>"']/g, (character) => entities[character] as string)
}

function head({ machine, settings, subjects, startedAt, command }: Results): string {
  const { rounds, seconds, warmUpSeconds, followers, seed } = settings
  const facts: readonly (readonly [string, string])[] = [
    [
      'machine',
      `${machine.processors} × ${machine.processor}, ${machine.memoryMiB.toLocaleString('en')} MiB, ${machine.system}`,
    ],
    [
      'disk',
      `${machine.appendSyncsPerSecond.toLocaleString('en')} fdatasyncs/s of 4 KiB appended, ${machine.overwriteSyncsPerSecond.toLocaleString('en')} overwritten; file system ${machine.fileSystem}`,
    ],
    ['before', `load average ${machine.loadAverage.toFixed(2)}`],
    ['versions', `Node.js ${machine.node}, SQLite ${machine.sqlite}`],
    [
      'measured',
      `${rounds} rounds of ${seconds} s after ${warmUpSeconds.toFixed(2)} s of warm-up, in turns; ${followers} followers; seed ${seed}`,
    ],
    ['command', command],
  ]
  const variants = Object.entries(subjects).flatMap(([name, report]) =>
    Object.entries(report.facts).map(([variant, told]) => [
      `${name} ${variant}`.trim(),
      told['durability'] ?? '',
      told['version'] ?? '',
      told['settings'] ?? '',
    ]),
  )
  return `<h1>Replication, side by side</h1><p class="faint">${escaped(startedAt)}. All processes shared this machine and its disk; traffic was loopback only.</p>
<dl>${facts.map(([name, value]) => `<dt>${name}</dt><dd>${name === 'command' ? `<code>${escaped(value)}</code>` : escaped(value)}</dd>`).join('')}</dl>
<details><summary>Durability, version and settings of each subject</summary><div class="scroll">${table(['subject', 'durability', 'version', 'settings'], variants)}</div></details>`
}

function section(workload: string, results: Results, rows: readonly Row[]): string {
  const writers = shownWriters(rows)
  const shown = rows.filter(({ cell }) => cell.writers === writers)
  const bytes = bytesPerCommit(shown)
  const lag = lagOverTime(shown, results)
  const hasManyWriters = new Set(rows.map(({ cell }) => cell.writers)).size > 1
  const names = [...new Set(rows.map((row) => seriesName(row, rows)))]
  const columns = columnsOf(rows)
  const cells = rows.map((row) => columns.map((column) => column.value(row)))
  return `<section><h2>${escaped(workload)}</h2>
${plot('Throughput against writers', 'Median of the rounds; a panel for each ack policy.', hasManyWriters ? throughputChart(throughput(rows), names) : '')}
${plot(`Latency, ${writers} writers`, 'All rounds together; each nine has the same room.', latencyChart(latencies(shown), names))}
${plot(`Lag over time, ${writers} writers`, 'At half of the rate that was reached; of the replica that is furthest behind.', lag.length === 0 ? '' : lagChart(lag, names))}
${plot(`Bytes for each commit, ${writers} writers`, "In the leader's log, and on the wire to and from all replicas.", bytes.length === 0 ? '' : bytesChart(bytes))}
<h3>Figures</h3><div class="scroll">${table(
    columns.map(({ head }) => head),
    cells,
    columns.map(({ title }) => title),
    columns.map(({ isText }) => isText === true),
  )}</div></section>`
}

function loss(rows: readonly Row[]): string {
  const points = lossAgainstLatency(rows)
  if (points.length === 0)
    return '<section><h2>Loss against latency</h2><p class="faint">Not measured: run with --kill-leader.</p></section>'
  return `<section><h2>Loss against latency</h2>${plot('The leader killed in the middle of a load', 'kill -9 of a process, not a power loss. How long the cluster takes to fail over is not measured.', lossChart(points))}</section>`
}

function notMeasured({ subjects, cells }: Results): string {
  const missing = Object.entries(subjects).flatMap(([name, { missing: why }]) =>
    why === undefined ? [] : [[name, why]],
  )
  const skipped = cells.flatMap(({ key, skipped: why }) => (why === undefined ? [] : [[key, why]]))
  const rows = [...missing, ...skipped]
  if (rows.length === 0) return ''
  return `<section><h2>Left out</h2><div class="scroll">${table(['what', 'why'], rows)}</div></section>`
}

function plot(title: string, what: string, svg: string): string {
  return svg === ''
    ? ''
    : `<div class="plot"><h3>${escaped(title)}</h3><p class="faint">${escaped(what)}</p>${svg}</div>`
}

function table(
  heads: readonly string[],
  rows: readonly (readonly string[])[],
  titles: readonly string[] = [],
  texts: readonly boolean[] = heads.map(() => true),
): string {
  const classOf = (index: number): string => (texts[index] === true ? ' class="text"' : '')
  const first = heads.map(
    (head, index) => `<th${classOf(index)} title="${escaped(titles[index] ?? '')}">${escaped(head)}</th>`,
  )
  const others = rows.map(
    (row) => `<tr>${row.map((cell, index) => `<td${classOf(index)}>${escaped(cell)}</td>`).join('')}</tr>`,
  )
  return `<table><thead><tr>${first.join('')}</tr></thead><tbody>${others.join('')}</tbody></table>`
}
