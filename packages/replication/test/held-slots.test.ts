/** Which slots a follower keeps for others. */
import { LOCAL_SLOT } from '@understudy/contracts'
import { expect, test } from 'vitest'
import { holdForOthers } from '../src/held-slots.ts'
import { MemoryLog } from './support/memory-log.ts'

const HERE = { node: 'b', leader: 'a' }

async function log(records: number): Promise<MemoryLog> {
  const made = new MemoryLog()
  made.startEpoch({ runId: '0123456789abcdef', leader: 'a', committedAtMs: 0 })
  while (made.end.lsn < records)
    made.append([{ format: 1, flags: 0, committedAtMs: 0, payload: new Uint8Array(10) }])
  await made.sync()
  return made
}

const slotsOf = (held: MemoryLog): Record<string, number> =>
  Object.fromEntries(held.slots.list().map(({ name, lsn }) => [name, lsn]))

test("has its leader's slots but its own and the leader's local one, and one for the leader at its own end", async () => {
  const held = await log(20)
  held.slots.reserve(LOCAL_SLOT, 15)
  const slots = [
    { name: 'b', lsn: 19 },
    { name: 'c', lsn: 7 },
    { name: 'ahead', lsn: 30 },
    { name: LOCAL_SLOT, lsn: 3 },
  ]
  holdForOthers(held, slots, HERE)
  expect(slotsOf(held)).toEqual({ local: 15, a: 20, c: 7, ahead: 20 })
  holdForOthers(held, [{ name: 'c', lsn: 9 }], HERE)
  expect(slotsOf(held)).toEqual({ local: 15, a: 20, c: 9 })
  // One that bootstraps again may begin further back.
  holdForOthers(held, [{ name: 'c', lsn: 8 }], HERE)
  expect(slotsOf(held)).toEqual({ local: 15, a: 20, c: 8 })
})

test('holds what it has where its log begins above the position', async () => {
  const held = await log(20)
  held.first = 12
  holdForOthers(held, [{ name: 'c', lsn: 4 }], HERE)
  expect(slotsOf(held)).toEqual({ a: 20, c: 11 })
  holdForOthers(held, [{ name: 'c', lsn: 4 }], HERE)
  expect(slotsOf(held)).toEqual({ a: 20, c: 11 })
})
