/** The act of the demo that kills its leader: it holds only when another node took a write, and tells what the file of a lost tail says. */
import { join } from 'node:path'
import { UnderstudyError } from '@understudy/contracts'
import { expect, test } from 'vitest'
import { failoverAct } from '../src/demo/failover-act.ts'
import { readLostTails } from '../src/demo/lost-tail.ts'
import type { Stage } from '../src/demo/stage.ts'
import type { Leading } from '../src/demo/workload.ts'
import { run, startNode, temporaryFolder } from './helpers.ts'

interface Played {
  readonly stage: Stage
  readonly kills: string[]
  readonly notes: string[]
}

/** A stage on which `after` takes writes once the leader is killed at 1000 ms; what does not hold at once never does. */
function play(after: Leading | undefined, forecast: object): Played {
  const kills: string[] = []
  const notes: string[] = []
  const workload = {
    leading: { name: 'a', epoch: 1, sinceMs: 0 },
    underWay: 7,
    replayed: 0,
    commits: 100,
  }
  const stage = {
    display: { step() {}, note: (text: string) => void notes.push(text) },
    clock: { monotonic: () => 1000 },
    workload,
    enough: 1,
    followers: ['a', 'c'],
    get leader() {
      return workload.leading.name
    },
    monitor: { view: () => ({ forecast }) },
    cluster: {
      directory: (name: string) => join(temporaryFolder(), name),
      process: (name: string) => ({
        async kill() {
          kills.push(name)
          if (after !== undefined) workload.leading = after
        },
      }),
      start: () => ({ ready: Promise.resolve({}), pid: 1 }),
    },
    commits: async () => {},
    caughtUp: async () => {},
    until: async (holds: () => boolean, what: string) => {
      if (!holds()) throw new UnderstudyError('TIMEOUT', what)
    },
  }
  return { stage: stage as unknown as Stage, kills, notes }
}

const WOULD = { outcome: 'promote', tookMs: 1200 }

test('the time from the kill to the first write of the next leader is what is told', async () => {
  const { stage, kills, notes } = play({ name: 'b', epoch: 2, sinceMs: 2345 }, WOULD)
  expect(await failoverAct(stage)).toEqual({
    failoverMs: 1345,
    lostTails: { records: 0, rows: 0, ids: [] },
  })
  expect(kills).toEqual(['a'])
  expect(notes).toContain('b leads epoch 2: its first write was acknowledged 1.3 s after the kill')
  expect(notes).toContain('a had nothing that the others lack: no lost tail')
})

test('without a successor, or with the killed node in its own place, the act does not hold', async () => {
  const what = 'another node than a took a write'
  await expect(failoverAct(play(undefined, WOULD).stage)).rejects.toThrow(what)
  const again = play({ name: 'a', epoch: 2, sinceMs: 2345 }, WOULD)
  await expect(failoverAct(again.stage)).rejects.toThrow(what)
})

test('a leader that nobody could replace without a loss is not killed', async () => {
  for (const forecast of [
    { outcome: 'refuse' },
    { outcome: 'promote', mayLose: { after: { epoch: 1, lsn: 7 } } },
  ]) {
    const { stage, kills } = play({ name: 'b', epoch: 2, sinceMs: 2345 }, forecast)
    await expect(failoverAct(stage)).rejects.toThrow('a could be replaced without a loss')
    expect(kills).toEqual([])
  }
})

test('records and rows of a lost tail are counted from its file', { timeout: 60_000 }, async () => {
  const folder = temporaryFolder()
  const directory = join(folder, 'a')
  const a = await startNode('a', directory)
  const b = await startNode('b', join(folder, 'b'), '--leader', a.address)
  const sql = async (address: string, text: string): Promise<void> =>
    expect((await run('sql', address, text)).code).toBe(0)
  await sql(a.address, 'create table note (id integer primary key, body text)')
  await expect.poll(async () => (await run('sql', b.address, 'select * from note')).code).toBe(0)
  b.process.child.kill('SIGTERM')
  await b.process.ended
  // Two records, three rows, that nobody else has.
  await sql(a.address, "insert into note values (1, 'x'), (2, 'y')")
  await sql(a.address, "insert into note values (3, 'z')")
  a.process.child.kill('SIGKILL')
  await a.process.ended
  expect(readLostTails(directory)).toEqual({ records: 0, rows: 0, ids: [] })

  const members = ['a', 'b'].map((name) => `${name}=unix://${join(folder, `${name}.sock`)}`)
  const led = await startNode(
    'b',
    join(folder, 'b'),
    '--listen',
    `unix://${join(folder, 'b.sock')}`,
    '--members',
    members.join(','),
  )
  expect((await run('promote', led.address, '--accept-loss')).code).toBe(0)
  expect((await run('rejoin', directory, '--leader', led.address)).code).toBe(0)
  const { records, rows, ids } = readLostTails(directory)
  expect({ records, rows }).toEqual({ records: 2, rows: 3 })
  const listed = await run('lost-tail', 'list', directory, '--json')
  expect(listed.json).toMatchObject({ lostTails: [{ id: ids[0], transactions: 2, changes: 3 }] })
})
