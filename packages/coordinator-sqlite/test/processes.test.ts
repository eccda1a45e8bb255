/** Several processes on one file, stopped and killed. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sqliteCoordinator } from '@understudy/coordinator-sqlite'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startRival, type Rival } from './support/processes.ts'

const TTL_MS = 400
let folder: string
let path: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'rivals-'))
  path = join(folder, 'coordinator.db')
})
afterEach(() => rmSync(folder, { recursive: true }))

const keep = (holder: string): Promise<Rival> => startRival({ path, holder, ttlMs: TTL_MS, keep: true })

interface Said {
  readonly word: string
  readonly atNs: bigint
  readonly epoch: number
}

function parsed(line: string): Said {
  const [word = '', atNs = '0', epoch = '0'] = line.split(' ')
  return { word, atNs: BigInt(atNs), epoch: Number(epoch) }
}

/** Until the process has done something under its lease, or ended without. */
async function acted(rival: Rival): Promise<Said> {
  for (;;) {
    const said = rival.acted()
    if (said !== '' || rival.ended) return parsed(said)
    await new Promise<void>((resolve) => {
      setImmediate(resolve)
    })
  }
}

test('a process that was stopped beyond its lease does nothing more under it', async () => {
  await using a = await keep('a')
  const first = await acted(a)
  await using b = await keep('b')
  a.child.kill('SIGSTOP')
  const taken = parsed(await b.line())
  expect(taken).toMatchObject({ word: 'acquired', epoch: first.epoch + 1 })
  a.child.kill('SIGCONT')
  expect((await a.rest()).map((line) => parsed(line).word)).toEqual(['acquired', 'lost'])
  expect(parsed(a.acted()).atNs).toBeLessThan(taken.atNs)
})

test('a process that was stopped for less than its lease goes on', async () => {
  await using a = await startRival({ path, holder: 'a', ttlMs: 5000, keep: true })
  await acted(a)
  a.child.kill('SIGSTOP')
  await using coordinator = await sqliteCoordinator({ path })
  const { lease } = await coordinator.observe()
  a.child.kill('SIGCONT')
  const resumedNs = process.hrtime.bigint()
  while ((await coordinator.observe()).lease?.beat === lease?.beat);
  while ((await acted(a)).atNs < resumedNs);
  expect((await coordinator.observe()).lease?.grant).toBe(lease?.grant)
})

test('whoever is killed or stopped, nobody does anything under a lease that somebody else has', async () => {
  const names = ['a', 'b', 'c']
  const rivals = await Promise.all(names.map((name) => keep(name)))
  await using coordinator = await sqliteCoordinator({ path })
  const acquisitions: Said[] = []
  const actions: Said[] = []
  for (let generation = 1; generation <= 9; generation++) {
    // The holder is whoever says so next; the others wait.
    const lines = rivals.map(async (rival, at) => ({ at, said: parsed(await rival.peek()) }))
    const { at, said } = await Promise.race(lines)
    const holder = rivals[at]!
    expect(said.word).toBe('acquired')
    acquisitions.push(said)
    await acted(holder)
    const isStopped = generation % 3 === 0
    holder.child.kill(isStopped ? 'SIGSTOP' : 'SIGKILL')
    if (isStopped) {
      while ((await coordinator.observe()).lease?.holder === names[at]);
      holder.child.kill('SIGCONT')
    }
    await holder.rest()
    // On a busy machine a lease may run out before anything is done under it.
    if (holder.acted() !== '') actions.push(parsed(holder.acted()))
    rivals[at] = await keep(names[at]!)
  }
  await Promise.all(rivals.map((rival) => rival[Symbol.asyncDispose]()))
  const epochs = acquisitions.map(({ epoch }) => epoch)
  expect(new Set(epochs).size).toBe(9)
  expect(actions.length).toBeGreaterThan(4)
  for (const { word, atNs, epoch } of actions) {
    expect(word).toBe('valid')
    for (const next of acquisitions) if (next.epoch > epoch) expect(atNs).toBeLessThan(next.atNs)
  }
}, 60_000)

test('nodes that make the file at the same moment all get the same one', async () => {
  const names = ['a', 'b', 'c', 'd']
  const rivals = await Promise.all(names.map((holder) => startRival({ path, holder, ttlMs: 60_000 })))
  await using coordinator = await sqliteCoordinator({ path })
  const first = await Promise.race(
    rivals.map(async (rival, at) => ({ at, said: parsed(await rival.peek()) })),
  )
  expect(first.said).toMatchObject({ word: 'acquired', epoch: 1 })
  expect((await coordinator.observe()).lease?.holder).toBe(names[first.at])
  await Promise.all(rivals.map((rival) => rival[Symbol.asyncDispose]()))
})
