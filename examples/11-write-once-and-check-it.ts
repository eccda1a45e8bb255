/** A write with a key that is sent twice and done once; its receipt, stored as JSON and checked on a follower. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isUnderstudyError, type Receipt } from '@understudy/contracts'
import { rowFormat } from '@understudy/format-row'
import { createNode, type WriteResult } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'

const folder = await mkdtemp(join(tmpdir(), 'understudy-'))
const parts = { format: rowFormat(), transport: tcp() }
const leader = await createNode({
  ...parts,
  name: 'a',
  directory: join(folder, 'a'),
  role: 'leader',
  listen: 'tcp://127.0.0.1:0',
})
await leader.write((tx) =>
  tx.exec('create table payment (id integer primary key, invoice text, amount integer)'),
)
const follower = await createNode({
  ...parts,
  name: 'b',
  directory: join(folder, 'b'),
  role: 'follower',
  leader: leader.address ?? '',
})

/** Whoever does not know whether a payment was written sends it again: the key says which one it is. */
function pay(invoice: string, amount: number): Promise<WriteResult<{ id: number }>> {
  return leader.write(
    (tx) => {
      const sql = 'insert into payment (invoice, amount) values (?, ?)'
      return { id: Number(tx.run(sql, [invoice, amount]).lastInsertRowid) }
    },
    { key: `payment ${invoice}`, fingerprint: String(amount) },
  )
}

const first = await pay('2026-17', 120)
console.log(
  `payment ${first.value.id} is written, ${first.replayed === true ? 'again' : 'for the first time'}`,
)
const again = await pay('2026-17', 120)
console.log(
  `payment ${again.value.id} is written, ${again.replayed === true ? 'again' : 'for the first time'}`,
)
console.log(`one position: ${first.receipt.position.lsn === again.receipt.position.lsn}`)
try {
  await pay('2026-17', 999)
} catch (error) {
  if (!isUnderstudyError(error, 'KEY_REUSED')) throw error
  console.log('another amount under the same key: KEY_REUSED')
}

// A receipt is plain data. It can be waited on now, and checked at any time, on any node.
const stored = JSON.stringify(first.receipt)
const { members } = await first.receipt.reach('applied', 1, { timeoutMs: 10_000 })
console.log(`applied on ${members.map(({ name }) => name).join(', ')}`)
const receipt = JSON.parse(stored) as Receipt
console.log(`the follower says: ${follower.verdict(receipt).verdict}`)
const future = { ...receipt, position: { epoch: 9, lsn: 9 } }
console.log(`of one that it has not heard of: ${follower.verdict(future).verdict}`)

const rows = await follower.read((tx) => tx.get('select count(*) as n from payment'))
console.log(`payments on the follower: ${String(rows?.['n'])}`)

await follower.close()
await leader.close()
await rm(folder, { recursive: true })
