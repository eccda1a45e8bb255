import type { RowBatch, RowStream } from '@understudy/client'
import type { Value } from '@understudy/protocol'
import { expect, test } from 'vitest'
import { join } from 'node:path'
import { printStream } from '../src/sql-stream.ts'
import { run, startNode, temporaryFolder } from './helpers.ts'

const NOTES = 'create table note (id integer primary key autoincrement, body text)'

/** Pages of two rows; counts those that were asked for. */
function pages(count: number): RowStream<readonly Value[]> & { asked: number } {
  const stream = {
    asked: 0,
    position: undefined,
    proof: undefined,
    async *batches(): AsyncGenerator<RowBatch<readonly Value[]>> {
      for (let page = 0; page < count; page++) {
        stream.asked++
        yield {
          columns: ['id', 'body'],
          rows: [
            [2 * page, 'a'],
            [2 * page + 1, page === 0 ? 'longest' : null],
          ],
        }
      }
    },
    async *[Symbol.asyncIterator](): AsyncGenerator<readonly Value[]> {
      for await (const { rows } of stream.batches()) yield* rows
    },
  }
  return stream
}

test('a page is asked for when the one before was taken, so that a slow reader holds back the result', async () => {
  const stream = pages(50)
  const taken: (() => void)[] = []
  const lines: string[] = []
  const printed = printStream(stream, 'json-lines', {
    out: (line) => void lines.push(line),
    error: () => expect.unreachable(),
    taken: () => new Promise((resolve) => void taken.push(resolve)),
  })
  for (let page = 1; page <= 50; page++) {
    await expect.poll(() => taken.length, { interval: 1 }).toBe(1)
    expect(stream.asked).toBe(page)
    taken.pop()?.()
  }
  expect(await printed).toBe(100)
  expect(lines.slice(0, 3)).toEqual(['{"columns":["id","body"]}', '[0,"a"]', '[1,"longest"]'])
  expect(lines.length).toBe(101)
})

test('for people later pages stand beneath the columns of the first', async () => {
  const lines: string[] = []
  await printStream(pages(2), 'table', {
    out: (text) => void lines.push(...text.split('\n')),
    error: () => expect.unreachable(),
  })
  expect(lines.slice(1)).toEqual(['0   a', '1   longest', '2   a', '3   NULL'])
})

test('sql prints a result of any size, for people and as lines of JSON', async () => {
  const folder = temporaryFolder()
  const a = await startNode('a', join(folder, 'a'))
  const b = await startNode('b', join(folder, 'b'), '--leader', a.address)
  const many = (rows: number): string =>
    `with recursive n(i) as (select 1 union all select i + 1 from n where i < ${rows}) select i, x'00ff' as b from n`
  const lines = await run('sql', b.address, many(120_000), '--json-lines')
  expect(lines.out.length).toBe(120_002)
  expect([lines.out[0], lines.out[1], lines.out[120_000]]).toEqual([
    '{"columns":["i","b"]}',
    '[1,"00ff"]',
    '[120000,"00ff"]',
  ])
  expect(lines.json).toMatchObject({ ok: true, rows: 120_000 })
  const table = await run('sql', '--connect', a.address, many(2500))
  expect([table.out[1], table.out[2500]]).toEqual(["1     x'00ff'", "2500  x'00ff'"])
  expect(table.out[2501]).toMatch(/^2500 rows, position /)
  // One object has to fit into one answer.
  const object = await run('sql', a.address, many(120_000), '--json')
  expect([object.code, object.json['error']]).toMatchObject([1, { code: 'RESULT_TOO_LARGE' }])
  const wrong = await run('sql', a.address, 'select * from nothing', '--json-lines')
  expect([wrong.code, wrong.json['error']]).toMatchObject([1, { code: 'SQL_FAILED' }])
  const wrote = await run(
    'sql',
    a.address,
    NOTES,
    "insert into note (body) values ('x') returning body",
    '--json-lines',
  )
  expect(wrote.out.slice(0, 3)).toEqual(['{"changes":0}', '{"columns":["body"],"changes":1}', '["x"]'])
  expect(wrote.json).toMatchObject({ ok: true })
})
