/**
 * Another process: applies physical transactions for ever, each of which sets every row of `t` to its own number, until it is
 * killed. Arguments: the path, pages of two versions of the database in turns as JSON. Prints a line when it has begun.
 */
import { readFileSync } from 'node:fs'
import { openStorage } from '@understudy/sqlite'

const [path, shippedPath] = process.argv.slice(2) as [string, string]
const shipped = JSON.parse(readFileSync(shippedPath, 'utf8')) as {
  pageCount: number
  pages: [number, string][]
}[]
const versions = shipped.map(({ pageCount, pages }) => ({
  pageCount,
  pages: pages.map(([page, image]) => [page, Buffer.from(image, 'base64')] as const),
}))
const storage = openStorage({ path, stagedBytesMax: 20_000, walBytesRestart: 200_000 })
storage.settle({ epoch: 1, lsn: 1, crc: 7 })
process.stdout.write('begun\n')
for (let lsn = 2; ; lsn++) {
  for (const { pageCount, pages } of versions) {
    storage.begin()
    for (const [page, image] of pages) storage.connection.pages.stage(page, image)
    storage.connection.pages.resize(pageCount)
    storage.commit()
    storage.settle({ epoch: 1, lsn, crc: lsn })
  }
  if (lsn % 3 === 0) await storage.checkpoint()
}
