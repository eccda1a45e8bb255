/** The report in a browser: Chromium, where there is one. */
import { execFile, execFileSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { inflateSync } from 'node:zlib'
import { readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { encode, histogram, recordMs } from '../src/load/histogram.ts'
import type { Results } from '../src/matrix/results.ts'
import { reportPage } from '../src/report/page.ts'
import { testFolder } from './folder.ts'
import { cellResult, resultsOf } from './results-made.ts'

const folder = testFolder()
const BROWSERS = ['chromium', 'chromium-browser', 'google-chrome']

function browser(): string | undefined {
  return BROWSERS.find((name) => {
    try {
      execFileSync(name, ['--version'], { stdio: 'ignore' })
      return true
    } catch {
      return false
    }
  })
}

function fullResults(): Results {
  const lag = histogram()
  for (let index = 1; index < 100; index++) recordMs(lag, index)
  const measured = {
    wireBytesPerCommit: 277,
    logBytesPerCommit: 135,
    lag: {
      commitsPerSecond: 50,
      latency: encode(lag),
      series: Array.from({ length: 50 }, (_, at) => [at * 10, 1 + (at % 7), 2 + (at % 9)] as const),
    },
  }
  const kill = {
    acknowledged: 100,
    lostOnRestart: 0,
    unacknowledged: 2,
    failoverSeconds: 'not measured',
  } as const
  const ours = (format: string, ack: string, factor: number, lostOnReplica: number) =>
    [1, 16, 64].map((writers) =>
      cellResult(
        { variant: { format, transport: 'tcp', ack, callers: 'client' }, writers },
        [900 * factor * writers, 1000 * factor * writers],
        { kill: { ...kill, lostOnReplica } },
        measured,
      ),
    )
  const sqlite = [1, 16, 64].map((writers) =>
    cellResult({ subject: 'sqlite', variant: { synchronous: 'full' }, writers }, [3000, 3100]),
  )
  return resultsOf(
    [
      ...sqlite,
      ...ours('row', 'async', 1, 7),
      ...ours('wal', 'async', 1.2, 9),
      ...ours('row', 'semi-sync', 0.6, 0),
    ],
    {
      command: 'bench --workload "<script>alert(1)</script>"',
      subjects: {
        understudy: {
          title: 'Understudy',
          version: '1',
          facts: { 'row/tcp/async/client': { durability: 'fdatasync <each>' } },
        },
        postgres: { title: 'PostgreSQL', missing: 'initdb is not installed', facts: {} },
      },
    },
  )
}

describe('the page', () => {
  test('needs nothing else: no scripts, nothing from anywhere, and names of others are text', () => {
    const page = reportPage(fullResults())
    expect(page).not.toMatch(/<script|<link|<img|<iframe|@import|url\(/i)
    expect(page.match(/(?:src|href)="[^"#]/g)).toBeNull()
    expect(page).toContain('&lt;script&gt;alert(1)&lt;/script&gt;')
    expect(page).toContain('initdb is not installed')
    for (const title of [
      'Throughput against writers',
      'Latency, 64 writers',
      'Lag over time',
      'Bytes for each commit',
      'Loss against latency',
    ])
      expect(page).toContain(title)
    // A legend has an SVG for each of its colours.
    expect(page.match(/<svg[^>]*width="960"/g)).toHaveLength(5)
    expect(page.length).toBeLessThan(300_000)
  })

  test('says what was not measured', () => {
    const page = reportPage(resultsOf([cellResult({}, [1])]))
    expect(page).toContain('Not measured: run with --kill-leader')
    expect(page).not.toContain('Lag over time')
    expect(reportPage(resultsOf([]))).toContain('Nothing was measured yet')
  })
})

const found = browser()

describe.skipIf(found === undefined)(
  `in Chromium${found === undefined ? ': there is none here' : ''}`,
  () => {
    /** A screenshot as bytes of red, green and blue, without a network. */
    async function shot(
      scheme: 'light' | 'dark',
      width: number,
    ): Promise<{ pixels: Buffer; width: number; height: number }> {
      const file = path.join(folder.path, 'report.html')
      const image = path.join(folder.path, `${scheme}.png`)
      await writeFile(file, reportPage(fullResults()))
      await promisify(execFile)(
        found as string,
        [
          '--headless=new',
          '--no-sandbox',
          '--disable-gpu',
          '--hide-scrollbars',
          '--disable-background-networking',
          `--user-data-dir=${path.join(folder.path, `profile-${scheme}`)}`,
          `--blink-settings=preferredColorScheme=${scheme === 'dark' ? 0 : 1}`,
          `--window-size=${width},4200`,
          `--screenshot=${image}`,
          `file://${file}`,
        ],
        { timeout: 60_000 },
      )
      return decodePng(readFileSync(image))
    }

    test(
      'it is drawn in light and in dark, with the colours of each, and nothing runs off a narrow window',
      { timeout: 120_000 },
      async () => {
        const light = await shot('light', 1100)
        const dark = await shot('dark', 700)
        expect(shareOf(light, [255, 255, 255])).toBeGreaterThan(0.6)
        expect(shareOf(dark, [20, 22, 26])).toBeGreaterThan(0.6)
        // Lines, points and bars of the first series, in its colour of each scheme.
        expect(shareOf(light, [0, 114, 178])).toBeGreaterThan(0.0005)
        expect(shareOf(dark, [86, 180, 233])).toBeGreaterThan(0.0005)
        expect(light.width).toBe(1100)
        expect(dark.width).toBe(700)
        // The right edge is margin: tables and plots stay within.
        for (const image of [light, dark]) expect(new Set(column(image, image.width - 3)).size).toBe(1)
      },
    )
  },
)

type Image = Awaited<ReturnType<typeof decodePng>>

function shareOf({ pixels }: Image, [red, green, blue]: readonly [number, number, number]): number {
  let found = 0
  for (let at = 0; at < pixels.length; at += 3)
    if (pixels[at] === red && pixels[at + 1] === green && pixels[at + 2] === blue) found++
  return (3 * found) / pixels.length
}

function column({ pixels, width, height }: Image, x: number): number[] {
  return Array.from({ length: height }, (_, y) => pixels.readUIntBE(3 * (y * width + x), 3))
}

/** PNG of 8 bits and three or four channels (RFC 2083), not interlaced, as Chromium writes it. */
function decodePng(file: Buffer): { pixels: Buffer; width: number; height: number } {
  const width = file.readUInt32BE(16)
  const height = file.readUInt32BE(20)
  const channels = file[25] === 6 ? 4 : 3
  const parts: Buffer[] = []
  for (let at = 8; at < file.length; at += 12 + file.readUInt32BE(at))
    if (file.toString('latin1', at + 4, at + 8) === 'IDAT')
      parts.push(file.subarray(at + 8, at + 8 + file.readUInt32BE(at)))
  const raw = inflateSync(Buffer.concat(parts))
  const stride = width * channels
  const lines = Buffer.alloc(height * stride)
  for (let y = 0; y < height; y++) unfilter(raw, lines, y, stride, channels)
  if (channels === 3) return { pixels: lines, width, height }
  const pixels = Buffer.alloc(width * height * 3)
  for (let at = 0; at < width * height; at++) lines.copy(pixels, at * 3, at * 4, at * 4 + 3)
  return { pixels, width, height }
}

function unfilter(raw: Buffer, lines: Buffer, y: number, stride: number, channels: number): void {
  const filter = raw[y * (stride + 1)]
  for (let x = 0; x < stride; x++) {
    const at = y * stride + x
    const left = x < channels ? 0 : (lines[at - channels] as number)
    const up = y === 0 ? 0 : (lines[at - stride] as number)
    const corner = y === 0 || x < channels ? 0 : (lines[at - stride - channels] as number)
    const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter as number] as number
    lines[at] = ((raw[y * (stride + 1) + 1 + x] as number) + guess) & 0xff
  }
}

function paeth(left: number, up: number, corner: number): number {
  const estimate = left + up - corner
  const [a, b, c] = [Math.abs(estimate - left), Math.abs(estimate - up), Math.abs(estimate - corner)]
  if (a <= b && a <= c) return left
  return b <= c ? up : corner
}
