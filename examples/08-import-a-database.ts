/** Adopts a database that exists already, while another program goes on using it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { isUnderstudyError } from '@understudy/contracts'
import { rowFormat } from '@understudy/format-row'
import { createNode, type UnderstudyNode } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'

const folder = await mkdtemp(join(tmpdir(), 'understudy-'))

// The database of some application, open and in use.
const existing = join(folder, 'app.db')
const app = new DatabaseSync(existing)
app.exec(`
  pragma journal_mode = wal;
  create table city (id integer primary key, name text);
  create table visit (city text, day text);
  insert into city (name) values ('Lisbon'), ('Oslo'), ('Quito');
`)

function adopt(): Promise<UnderstudyNode> {
  return createNode({
    name: 'a',
    directory: join(folder, 'a'),
    role: 'leader',
    format: rowFormat(),
    transport: tcp(),
    importFrom: existing, // first start only; the file is read, never written
  })
}

// Rows without a key cannot be replicated: the error names the table and what to do, and nothing is left behind.
try {
  await adopt()
} catch (error) {
  if (!isUnderstudyError(error, 'DATABASE_UNSUITABLE')) throw error
  console.log(`${error.code}: ${error.message}`)
}

app.exec(`
  create table visit_with_key (city text, day text, primary key (city, day)) without rowid;
  insert into visit_with_key select distinct city, day from visit;
  drop table visit;
  alter table visit_with_key rename to visit;
`)
const leader = await adopt()
await leader.write((tx) => tx.run("insert into city (name) values ('Hanoi')"))
const cities = await leader.read((tx) => tx.all('select name from city order by id'))
console.log(`adopted and continued: ${cities.map(({ name }) => name).join(', ')}`)
const { n } = app.prepare('select count(*) as n from city').get() ?? {}
console.log("cities in the application's own file:", n)

app.close()
await leader.close()
await rm(folder, { recursive: true })
