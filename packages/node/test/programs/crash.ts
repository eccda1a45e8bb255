/**
 * A leader that dies with its commits: writes rows, then puts the database back to where it was before them and kills
 * itself, as a machine that lost power leaves it (synchronous=NORMAL). Arguments: directory, rows.
 */
import { copyFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { rowFormat } from '@understudy/format-row'
import { memoryTransport } from '@understudy/testkit/memory-transport'
import { createNode, generationPaths, type NodeOptions } from '../../src/index.ts'

const [, , directory = '', rows = ''] = process.argv
const options: NodeOptions = {
  name: 'a',
  directory,
  role: 'leader',
  format: rowFormat(),
  transport: memoryTransport(),
  // A checkpoint would make the commits durable.
  checkpointBytes: 2 ** 40,
}
const { database } = generationPaths(directory, 1)
const first = await createNode(options)
await first.write((tx) => tx.exec('create table note (id integer primary key, body text)'))
await first.close()
copyFileSync(database, join(directory, 'old.sqlite'))
const second = await createNode(options)
// One by one, so that there is a record for each; large, so that redo takes several batches.
for (let id = 1; id <= Number(rows); id++)
  await second.write((tx) => tx.run('insert into note values (?, ?)', [id, 'x'.repeat(250_000)]))
copyFileSync(join(directory, 'old.sqlite'), database)
for (const suffix of ['-wal', '-shm']) rmSync(database + suffix, { force: true })
rmSync(join(directory, 'old.sqlite'))
process.kill(process.pid, 'SIGKILL')
