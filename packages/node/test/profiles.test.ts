/** What each profile promises, kept by real nodes. */
import { isUnderstudyError, systemClock, type Clock } from '@understudy/contracts'
import { formatRule, resolvePolicy } from '@understudy/replication'
import { describe, expect, test } from 'vitest'
import { describeProfile, type UnderstudyNode } from '../src/index.ts'
import { profilePolicy } from '../src/profiles.ts'
import { Cluster } from './helpers.ts'

async function insert(node: UnderstudyNode, ackTimeoutMs?: number): Promise<string> {
  const options = ackTimeoutMs === undefined ? {} : { ackTimeoutMs }
  try {
    const { receipt } = await node.write((tx) => tx.run("insert into note (body) values ('x')"), options)
    return `${receipt.asked} ${receipt.degraded ? 'degraded' : receipt.reached}`
  } catch (error) {
    return isUnderstudyError(error) ? error.code : String(error)
  }
}

/** Real time, of which 20 s pass in one. */
function quick(real = systemClock()): Clock {
  return {
    now: () => real.now(),
    monotonic: () => real.monotonic() * 20,
    schedule: (delayMs, run) => real.schedule(delayMs / 20, run),
  }
}

describe('no-loss', () => {
  test.each([
    [['b'], 'durable ANY 1 (b)'],
    [['b', 'c'], 'durable ANY 1 (b, c)'],
    [['b', 'c', 'd'], 'durable ANY 2 (b, c, d)'],
    [['b', 'c', 'd', 'e'], 'durable ANY 2 (b, c, d, e)'],
  ])('of %j asks for so many that more than half of the cluster has each write', (members, text) => {
    const { rule, onUnmet, visibility } = resolvePolicy(profilePolicy({ profile: 'no-loss', members }))
    expect([formatRule(rule), onUnmet, visibility]).toEqual([text, 'block', 'acked'])
    expect(((rule.of?.count ?? 0) + 1) * 2).toBeGreaterThan(members.length + 1)
  })

  test('acknowledges nothing alone, and shows nothing; goes on once a member is there', async () => {
    const cluster = new Cluster()
    const a = await cluster.start('a', 'leader', { profile: 'no-loss', members: ['b', 'c'] })
    expect(a.status()).toMatchObject({ profile: 'no-loss', acks: { onUnmet: 'block' } })
    const table = a.write((tx) => tx.exec('create table note (id integer primary key, body text)'), {
      ackTimeoutMs: 50,
    })
    await expect(table).rejects.toMatchObject({ code: 'WRITTEN_NOT_ACKED' })
    expect(
      await a.read((tx) => tx.get('select count(*) as n from sqlite_schema where name = ?', ['note'])),
    ).toEqual({ n: 0 })
    await cluster.start('b', 'follower')
    expect(await insert(a)).toBe('durable durable')
    expect((await a.exposure()).ranges).toEqual([])
  })

  test('says what one member is worth', () => {
    expect(describeProfile('no-loss', ['b'])).toMatch(/any one machine.*While b is away, no write/)
    expect(describeProfile('no-loss', ['b', 'c', 'd', 'e'])).toMatch(
      /any 2 machines.*more than 2 of the members/,
    )
    expect(() => profilePolicy({ profile: 'no-loss' })).toThrow(
      /With one member each write is on two machines/,
    )
  })
})

test('balanced goes on alone, says so, lists it, and comes back', async () => {
  const cluster = new Cluster()
  const a = await cluster.start('a', 'leader', { profile: 'balanced', members: ['b'], clock: quick() })
  await a.write((tx) => tx.exec('create table note (id integer primary key, body text)'))
  expect(await insert(a)).toBe('durable degraded')
  const { profile, acks } = a.status()
  expect([profile, acks?.effective, acks?.degraded]).toEqual(['balanced', 'local', true])
  const [exposed] = (await a.exposure()).ranges
  expect(exposed).toMatchObject({ commits: 2, state: 'exposed' })
  const settled = cluster.events['a']!.until('acks', ({ degraded }) => !degraded)
  await cluster.start('b', 'follower')
  await settled
  expect(await insert(a)).toBe('durable durable')
  expect((await a.exposure()).ranges).toMatchObject([{ isOpen: false, state: 'covered' }])
})

test('fast asks nobody, and is named', async () => {
  const cluster = new Cluster()
  const a = await cluster.leader(0, { profile: 'fast' })
  expect(await insert(a)).toBe('local local')
  expect(a.status()).toMatchObject({ profile: 'fast', acks: { rule: 'local', degraded: false } })
  const b = await cluster.start('b', 'follower')
  expect(b.status()).not.toHaveProperty('profile')
})
