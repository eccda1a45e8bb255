/** A session that writes on the leader and reads on a follower, and always sees its own writes. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isUnderstudyError } from '@understudy/contracts'
import { rowFormat } from '@understudy/format-row'
import { createNode, type UnderstudyNode } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'

/** Remembers the position of its last write. In a web application it would live in the user's cookie. */
class Session {
  readonly #leader: UnderstudyNode
  readonly #follower: UnderstudyNode
  #position: { epoch: number; lsn: number; crc: number } | undefined

  constructor(leader: UnderstudyNode, follower: UnderstudyNode) {
    this.#leader = leader
    this.#follower = follower
  }

  async add(body: string): Promise<void> {
    const { receipt } = await this.#leader.write((tx) => tx.run('insert into note (body) values (?)', [body]))
    // With the CRC, a position that a failover lost is told from another record with its number.
    this.#position = { ...receipt.position, crc: receipt.crc }
  }

  async count(): Promise<number> {
    const options = this.#position && { after: this.#position, timeoutMs: 5000 }
    const row = await this.#follower.read((tx) => tx.get('select count(*) as n from note'), options)
    return Number(row?.['n'])
  }
}

const folder = await mkdtemp(join(tmpdir(), 'understudy-'))
const parts = { format: rowFormat(), transport: tcp() }
const leader = await createNode({
  ...parts,
  name: 'a',
  directory: join(folder, 'a'),
  role: 'leader',
  listen: 'tcp://127.0.0.1:0',
})
await leader.write((tx) => tx.exec('create table note (id integer primary key, body text)'))
const follower = await createNode({
  ...parts,
  name: 'b',
  directory: join(folder, 'b'),
  role: 'follower',
  leader: leader.address ?? '',
})

const session = new Session(leader, follower)
let stale = 0
for (let n = 1; n <= 100; n++) {
  await session.add(`note ${n}`)
  if ((await session.count()) < n) stale++
}
console.log(`100 writes on the leader, 100 reads on the follower, ${stale} stale`)

// A position that does not come in time is an error with a code, never old data.
const { epoch, lsn } = leader.applied
const future = { epoch, lsn: lsn + 1 }
try {
  await follower.read((tx) => tx.all('select * from note'), { after: future, timeoutMs: 50 })
} catch (error) {
  if (!isUnderstudyError(error, 'TIMEOUT')) throw error
  console.log(`${error.code}: ${error.message}`)
}

await follower.close()
await leader.close()
await rm(folder, { recursive: true })
