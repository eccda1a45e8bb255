/** The schema changes while writers go on; each record is applied to the schema that it was made with. */
import { expect, test } from 'vitest'
import { TcpCluster, caughtUp, fill, load } from './support/tcp-cluster.ts'

const CHANGES = [
  'alter table note add column stars integer not null default 3',
  'create index by_stars on note (stars, body)',
  "create table audit (id integer primary key, note integer, what text); create trigger on_note after insert on note begin insert into audit (note, what) values (new.id, 'inserted'); end",
  'alter table note rename column stars to points',
  'alter table note rename to memo; create view note as select * from memo; create trigger note_in instead of insert on note begin insert into memo (body) values (new.body); end',
  'drop index by_stars; alter table memo add column extra text as (upper(body)) virtual',
  'drop trigger on_note; drop table audit',
  'drop view note; alter table memo drop column points; alter table memo rename to note',
  'pragma user_version = 17',
]

test('010 DDL of every kind under load ends with equal data and schema', async () => {
  const cluster = new TcpCluster()
  const leader = await cluster.leader()
  await fill(leader, 50)
  const follower = await cluster.follower('b')
  const writers = load(8, (n) =>
    leader.write((tx) => {
      tx.run('insert into note (body) values (?)', [`n${n}`])
    }),
  )
  for (const change of CHANGES) {
    await writers.more(30)
    await leader.write((tx) => {
      tx.exec(change)
      // Rows and schema in one transaction.
      tx.run('insert into note (body) values (?)', [change])
    })
  }
  await writers.more(30)
  // A new follower of the schema that grew, and the one that saw it grow.
  const late = await cluster.follower('c')
  await cluster.verify(leader, follower, late)
  await writers.stop()
  await caughtUp(leader, follower, late)
  const schema =
    "select type, name, sql from sqlite_schema where name not like '\\_understudy%' escape '\\' order by name"
  const [expected, ...found] = await Promise.all(
    [leader, follower, late].map((node) =>
      node.read((tx) => [
        tx.all(schema),
        tx.get('pragma user_version'),
        tx.get('select count(*) as n from note'),
      ]),
    ),
  )
  expect(expected?.[1]).toEqual({ user_version: 17 })
  for (const each of found) expect(each).toEqual(expected)
})
