import { expect, test } from 'vitest'
import { apply, fileOf, follower, integrity, leader } from './physical.ts'

const PAGE_SIZES = [512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536]

test.each(PAGE_SIZES)(
  'a follower that is given each commit is the leader, byte for byte (pages of %i bytes)',
  async (pageBytes) => {
    const { storage, write } = leader({ pageBytes })
    const copy = await follower(storage)
    expect(copy.connection.pages.pageBytes).toBe(pageBytes)
    for (let round = 0; round < 40; round++) {
      apply(
        copy,
        write((tx) => {
          tx.run('insert into t (v) values (randomblob(?))', [pageBytes])
          if (round % 7 === 3) tx.run('delete from t where id % 3 = 0')
          if (round === 20) tx.exec('create index i on t (v); create table u (a, b)')
          if (round === 25) tx.exec('drop table u')
        }),
      )
      expect(await copy.read((tx) => tx.get('select count(*) as n, max(id) as id from t'))).toEqual(
        await storage.read((tx) => tx.get('select count(*) as n, max(id) as id from t')),
      )
    }
    expect(integrity(copy)).toBe('ok')
    expect(Buffer.compare(await fileOf(copy), await fileOf(storage))).toBe(0)
  },
)
