/** Lines of decisions: kept, cut off, limited. */
import { SimulatedDisk } from '@understudy/testkit'
import { describe, expect, test } from 'vitest'
import { readDecisions } from '../../src/index.ts'
import { DecisionFile } from '../../src/member/decision-file.ts'

function open(): { files: SimulatedDisk; file: DecisionFile } {
  const files = new SimulatedDisk({ directories: 'durable' })
  files.makeDirectory('/node')
  return { files, file: new DecisionFile(files, '/node') }
}

/** What a crash in the middle of a line leaves. */
function cutOff(files: SimulatedDisk): void {
  const handle = files.open('/node/decisions.jsonl', { create: true, write: true })
  handle.write([Buffer.from('{"at":')], handle.size())
  handle.close()
}

test('nothing was decided: no lines', () => {
  expect(readDecisions(open().files, '/node')).toEqual([])
})

test('a line that a crash cut off is left out, and spoils no line after it', () => {
  const { files, file } = open()
  file.append('first')
  cutOff(files)
  expect(readDecisions(files, '/node')).toEqual(['first'])
  file.append('second')
  expect(readDecisions(files, '/node')).toEqual(['first', '{"at":', 'second'])
})

test('a line that was kept outlives a power loss, the first one too', () => {
  const files = new SimulatedDisk()
  files.makeDirectory('/node')
  files.syncDirectory('/')
  new DecisionFile(files, '/node').append('first')
  files.crash('lose-all')
  expect(readDecisions(files, '/node')).toEqual(['first'])
})

describe('with a limit', () => {
  const { files, file } = open()
  for (const line of ['aaaa', 'bbb', 'cc']) file.append(line)
  test.each([
    [0, []],
    [2, []],
    [3, ['cc']],
    [6, ['cc']],
    [7, ['bbb', 'cc']],
    [11, ['bbb', 'cc']],
    [12, ['aaaa', 'bbb', 'cc']],
    [1000, ['aaaa', 'bbb', 'cc']],
  ])('of %d bytes the newest lines that fit', (bytesMax, lines) => {
    expect(readDecisions(files, '/node', bytesMax)).toEqual(lines)
  })
})

test('the older file counts once all of the newer one fits', () => {
  const { files, file } = open()
  const large = 'x'.repeat(3 * 1024 * 1024)
  file.append('oldest')
  file.append(large)
  file.append(large)
  file.append('newest')
  expect(readDecisions(files, '/node').map(({ length }) => length)).toEqual([
    6,
    large.length,
    large.length,
    6,
  ])
  expect(readDecisions(files, '/node', large.length)).toEqual(['newest'])
  expect(readDecisions(files, '/node', large.length + 8)).toEqual([large, 'newest'])
  expect(readDecisions(files, '/node', 2 * large.length + 9)).toHaveLength(3)
})
