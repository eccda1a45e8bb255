/** What is seen of a demo without a terminal: few lines, each of which says something new. */
import { Writable } from 'node:stream'
import { stripVTControlCharacters } from 'node:util'
import { expect, test } from 'vitest'
import type { Clock } from '@understudy/contracts'
import { barDisplay } from '../src/demo/bars.ts'
import { jsonDisplay, lineDisplay, nodeLine } from '../src/demo/display.ts'
import type { NodeView } from '../src/demo/monitor.ts'

const view: NodeView = {
  name: 'b',
  role: 'follower',
  state: 'streaming',
  position: '1/42',
  lsn: 42,
  epoch: 1,
  lagRecords: 1234,
  rowsPerSecond: 5678.9,
  forecast: undefined,
}

/** A clock that stands still until it is moved. */
function clock(): Clock & { at: number } {
  const unused = (): never => {
    throw new Error('unused')
  }
  return {
    at: 0,
    now: unused,
    schedule: unused,
    monotonic: function () {
      return this.at
    },
  }
}

function lines(): { out: string[]; output: { out(line: string): void; error(line: string): void } } {
  const out: string[] = []
  return { out, output: { out: (line) => void out.push(stripVTControlCharacters(line)), error: () => {} } }
}

test('a line of a node tells position, lag and rows per second', () => {
  const line = nodeLine(view)
  for (const part of ['b', 'follower', 'streaming', '1/42', '1,234 behind', '5,679 rows/s'])
    expect(line).toContain(part)
})

test('progress is told once a quarter, nodes every two seconds', () => {
  const time = clock()
  const { out, output } = lines()
  const display = lineDisplay(output, time)
  display.step('loading')
  for (let done = 0; done <= 1000; done += 10) display.progress('load', done, 1000, 'rows')
  expect(out).toEqual([
    'loading',
    ...[25, 50, 75, 100].map((percent) => `  load: ${percent} % of 1,000 rows`),
  ])
  for (let turn = 0; turn < 40; turn++) {
    time.at += 100
    display.nodes([view])
  }
  expect(out.slice(5)).toEqual([`  ${nodeLine(view)}`, `  ${nodeLine(view)}`])
})

test('every line for a machine is a JSON object with a kind', () => {
  const time = clock()
  const { out, output } = lines()
  const display = jsonDisplay(output, time)
  display.step('one')
  display.note('two')
  display.progress('load', 5, 5, 'rows')
  time.at = 2000
  display.nodes([view])
  expect(out.map((line) => (JSON.parse(line) as { kind: string }).kind)).toEqual([
    'step',
    'note',
    'progress',
    'nodes',
  ])
})

test('a terminal shows bars while they fill and keeps what was said', () => {
  let text = ''
  const terminal = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += String(chunk)
      done()
    },
  }) as unknown as NodeJS.WriteStream
  Object.assign(terminal, {
    isTTY: true,
    columns: 120,
    getWindowSize: () => [120, 40],
    clearLine() {},
    moveCursor() {},
    cursorTo() {},
    clearScreenDown() {},
  })
  const display = barDisplay(terminal)
  display.step('loading')
  display.progress('load', 250, 1000, 'rows')
  display.nodes([view])
  display.progress('snapshot', 8, 8, 'MiB')
  display.progress('snapshot', 8, 8, 'MiB')
  display.close()
  const shown = stripVTControlCharacters(text)
  expect(shown).toContain('loading')
  expect(shown).toContain('25 % of 1,000 rows')
  expect(shown).toContain(nodeLine(view))
  expect(shown.match(/snapshot: 8 MiB/g)).toHaveLength(1)
})
