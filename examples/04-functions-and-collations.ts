/** Functions and collations of your own, in indexes, CHECKs and queries: `setup` registers them on every connection. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { rowFormat } from '@understudy/format-row'
import { createNode } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'

/**
 * The same on every node. Called for the connection that writes, the one that applies and each one that reads, so a
 * function must not depend on who calls it.
 */
function setup(connection: DatabaseSync): void {
  connection.function('slug', { deterministic: true }, (text) =>
    String(text)
      .toLowerCase()
      .replaceAll(/[^a-z0-9]+/g, '-'),
  )
  connection.aggregate('longest', {
    start: '',
    step: (longest: string, text) => (String(text).length > longest.length ? String(text) : longest),
  })
}

const folder = await mkdtemp(join(tmpdir(), 'understudy-'))
const parts = { format: rowFormat(), transport: tcp(), setup }
const leader = await createNode({
  ...parts,
  name: 'a',
  directory: join(folder, 'a'),
  role: 'leader',
  listen: 'tcp://127.0.0.1:0',
})
await leader.write((tx) =>
  tx.exec(`
    create table page (
      id integer primary key,
      title text not null collate nocase check (slug(title) <> '-'),
      path text as (slug(title)) stored
    );
    create unique index page_by_slug on page (slug(title));
  `),
)
const { receipt } = await leader.write((tx) => {
  for (const title of ['Hello, World!', 'Étude No. 3', 'A much longer title'])
    tx.run('insert into page (title) values (?)', [title])
})

const follower = await createNode({
  ...parts,
  name: 'b',
  directory: join(folder, 'b'),
  role: 'follower',
  leader: leader.address ?? '',
})
const found = await follower.read(
  (tx) => ({
    bySlug: tx.get("select title, path from page where slug(title) = 'hello-world-'"),
    byCollation: tx.get("select id from page where title = 'HELLO, WORLD!'"),
    longest: tx.get('select longest(title) as title from page'),
  }),
  { after: receipt.position },
)
console.log('by function:', found.bySlug?.['title'], 'at', found.bySlug?.['path'])
console.log('by collation: page', found.byCollation?.['id'])
console.log('by aggregate:', found.longest?.['title'])

await leader
  .write((tx) => tx.run("insert into page (title) values ('hello world!')"))
  .catch((error: Error) => {
    console.log(`refused: ${error.message}`)
  })

await follower.close()
await leader.close()
await rm(folder, { recursive: true })
