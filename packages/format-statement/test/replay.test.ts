import { expect, test } from 'vitest'
import { KV, pair } from './helpers.ts'

test('statements replay identically, with what functions answered', () => {
  const { leader, follower } = pair(
    `${KV}; create table d (id integer primary key, at default current_timestamp, r default (random()), x default (datetime('now')), check (random() is not null));
     create trigger t after insert on kv begin insert into d (r) values (last_insert_rowid() + 1000 * changes()); end`,
  )
  for (let round = 0; round < 3; round += 1) {
    const payload = leader.payload(
      (c) => c.exec('insert into kv (k, v, n) values (?, ?, ?)', ['a', 'b', 1]),
      (c) =>
        c.exec('insert into kv (k, v, n) values ($k, :v, @n)', { k: 'a', v: new Uint8Array([1]), n: 5n }),
      `insert into d (id) select 1000 + max(id) from d; update d set r = randomblob(4) where id > 2`,
    )
    follower.apply(payload)
    expect(follower.dump()).toEqual(leader.dump())
  }
})
