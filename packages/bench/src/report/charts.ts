/**
 * The plots of the report, drawn by Observable Plot into a document of linkedom: SVG as text, without a browser and without scripts in the page.
 *
 * Decides: which mark shows what. Colours are variables of the page's style (`--series-…`), text and lines are `currentColor`: so one drawing is right in light, in dark and in print.
 */
import * as Plot from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import type { Bar, Point } from './series.ts'

/** As many as the style has. */
export const SERIES_COLOURS = 12
const WIDTH = 960
const PANEL_HEIGHT = 300
const BAR_HEIGHT = 16
/** Room for the numbers of the x axis and its label beneath them. */
const BOTTOM = 46

type Options = NonNullable<Parameters<typeof Plot.plot>[0]>
type Axis = NonNullable<Options['x']>

interface LineOptions {
  /** All series of the page, so that each has one colour in every plot. */
  readonly names: readonly string[]
  readonly x: Axis
  readonly y: Axis
  /** A mark at each point; for lines of many points none. */
  readonly marked: boolean
}

export function throughputChart(points: readonly Point[], names: readonly string[]): string {
  const writers = [...new Set(points.map(({ x }) => x))].sort((a, b) => a - b)
  return lines(points, {
    names,
    x: { type: 'log', label: 'writers at once', ticks: writers, tickFormat: String },
    y: { type: 'log', label: 'operations per second', grid: true, ticks: 5, tickFormat: 's' },
    marked: true,
  })
}

export function latencyChart(points: readonly Point[], names: readonly string[]): string {
  const shown: Readonly<Record<number, string>> = {
    1: '0 %',
    2: '50 %',
    10: '90 %',
    100: '99 %',
    1000: '99.9 %',
    10000: '99.99 %',
  }
  return lines(points, {
    names,
    x: {
      type: 'log',
      label: 'share of the operations that were not slower',
      ticks: Object.keys(shown).map(Number),
      tickFormat: (value: number) => shown[Math.round(value)] ?? '',
    },
    y: { type: 'log', label: 'milliseconds', grid: true, ticks: 5, tickFormat: plain },
    marked: false,
  })
}

export function lagChart(points: readonly Point[], names: readonly string[]): string {
  return lines(points, {
    names,
    x: { label: 'seconds since the load began' },
    y: {
      type: 'log',
      label: 'milliseconds of lag, the highest of each moment',
      grid: true,
      ticks: 5,
      tickFormat: plain,
    },
    marked: false,
  })
}

export function bytesChart(bars: readonly Bar[]): string {
  const names = [...new Set(bars.map(({ series }) => series))]
  const panels = [...new Set(bars.map(({ panel }) => panel))]
  return drawn({
    width: WIDTH,
    height: 70 + names.length * (BAR_HEIGHT * panels.length + 10),
    marginBottom: BOTTOM,
    marginRight: 64,
    marginLeft: 12 + Math.max(...names.map((name) => name.length)) * 7,
    x: { label: 'bytes for each commit', grid: true, labelOffset: BOTTOM - 4 },
    y: { label: null, domain: panels },
    fy: { label: null, domain: names, axis: 'left', padding: 0.15 },
    color: { ...colours(panels), legend: true },
    marks: [
      Plot.axisY({ ticks: [] }),
      Plot.barX([...bars], { x: 'value', y: 'panel', fy: 'series', fill: 'panel' }),
      Plot.text([...bars], {
        x: 'value',
        y: 'panel',
        fy: 'series',
        text: ({ value }: Bar) => Math.round(value).toLocaleString('en'),
        textAnchor: 'start',
        dx: 4,
      }),
      Plot.ruleX([0]),
    ],
  })
}

export function lossChart(points: readonly Point[]): string {
  const series = namesOf(points)
  return drawn({
    width: WIDTH,
    height: PANEL_HEIGHT,
    marginLeft: 70,
    marginBottom: BOTTOM,
    x: {
      type: 'log',
      label: 'milliseconds until a commit is acknowledged, median',
      tickFormat: plain,
      ticks: 5,
      labelOffset: BOTTOM - 4,
    },
    y: {
      type: 'symlog',
      label: 'acknowledged commits that a failover would lose',
      grid: true,
      ticks: 5,
      tickFormat: plain,
    },
    color: { ...colours(series), legend: true },
    symbol: { legend: false },
    marks: [Plot.ruleY([0]), Plot.dot([...points], { x: 'x', y: 'y', fill: 'series', r: 6, title: 'title' })],
  })
}

function lines(points: readonly Point[], { names, x, y, marked }: LineOptions): string {
  const panels = [...new Set(points.map(({ panel }) => panel))]
  const options = { x: 'x', y: 'y', stroke: 'series', ...(panels.length > 1 && { fy: 'panel' }) } as const
  return drawn({
    width: WIDTH,
    height: 40 + PANEL_HEIGHT * panels.length,
    marginLeft: 64,
    marginBottom: BOTTOM,
    marginRight: panels.length > 1 ? 100 : 24,
    x: { ...x, labelOffset: BOTTOM - 4 },
    y,
    ...(panels.length > 1 && { fy: { label: null, domain: panels } }),
    color: { ...colours(namesOf(points), names), legend: true },
    marks: [
      Plot.frame({ strokeOpacity: 0.2 }),
      Plot.line([...points], { ...options, strokeWidth: 2, z: 'series' }),
      ...(marked ? [Plot.dot([...points], { ...options, fill: 'series', r: 3.5, title: 'title' })] : []),
    ],
  })
}

function namesOf(points: readonly Point[]): readonly string[] {
  return [...new Set(points.map(({ series }) => series))]
}

/** Of those that are shown, by their place among all. */
function colours(
  shown: readonly string[],
  all: readonly string[] = shown,
): { readonly domain: string[]; readonly range: string[] } {
  return {
    domain: [...shown],
    range: shown.map((name) => `var(--series-${Math.max(0, all.indexOf(name)) % SERIES_COLOURS})`),
  }
}

function plain(value: number): string {
  return value.toLocaleString('en', { maximumSignificantDigits: 3 })
}

function drawn(options: Options): string {
  const { document } = parseHTML('<!doctype html><html><body></body></html>')
  const figure = Plot.plot({
    ...options,
    document,
    style: { fontSize: '12px' },
  })
  return (figure as { readonly outerHTML: string }).outerHTML
}
