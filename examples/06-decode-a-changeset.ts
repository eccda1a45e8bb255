/** The package `changeset` alone: what did a transaction change? And undo it. No node, no replication. */
import { DatabaseSync } from 'node:sqlite'
import { decodeChangeset, invertChangeset } from '@understudy/changeset'

const database = new DatabaseSync(':memory:')
database.exec(`
  create table account (id integer primary key, owner text, cents integer);
  insert into account values (1, 'ann', 1000), (2, 'bob', 500), (3, 'eve', 1);
`)

const session = database.createSession()
database.exec(`
  begin;
  update account set cents = cents - 300 where id = 1;
  update account set cents = cents + 300 where id = 2;
  delete from account where id = 3;
  insert into account values (4, 'dan', 9007199254740993);
  commit;
`)
const changeset = session.changeset()
console.log(`${changeset.length} bytes:`)
for (const { operation, table, before, after } of decodeChangeset(changeset)) {
  console.log(`  ${operation} ${table} ${show(before)} -> ${show(after)}`)
}

database.applyChangeset(invertChangeset(changeset))
console.log('undone:', database.prepare('select id, owner, cents from account').all().map(show).join(' '))
database.close()

/** INTEGER comes as bigint; a column that an update left alone is undefined. */
function show(row: object): string {
  return `(${Object.values(row)
    .map((value) => (value === undefined ? '·' : String(value)))
    .join(', ')})`
}
