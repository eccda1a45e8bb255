import { once } from 'node:events'
import { connect } from 'node:net'
import type { UnderstudyNode } from '@understudy/node'
import { describe, expect, test } from 'vitest'
import { startMonitor, type Monitor } from '../src/index.ts'
import { ask, askUntil, Cluster, monitor, parsePrometheus, readEvents, type Scrape } from './helpers.ts'

async function scrape({ address }: Monitor): Promise<Scrape> {
  const answer = await ask(`${address}/metrics`)
  expect(answer.status).toBe(200)
  expect(answer.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8')
  return parsePrometheus(answer.text)
}

/** A leader and a follower, a monitor for each; the follower streams and has said what it has applied. */
async function pair(): Promise<{ a: UnderstudyNode; b: UnderstudyNode; ofA: Monitor; ofB: Monitor }> {
  const cluster = new Cluster()
  const [ofA, ofB] = [await monitor(), await monitor()]
  const a = await cluster.start('a', 'leader', { observe: ofA.observe })
  await a.write((tx) => tx.exec('create table note (id integer primary key, body text)'))
  const b = await cluster.start('b', 'follower', { observe: ofB.observe })
  const { receipt } = await a.write((tx) => tx.run("insert into note (body) values ('x')"))
  await b.read(() => 1, { after: receipt.position })
  await askUntil(`${ofA.address}/metrics`, ({ text }) =>
    text.includes('understudy_follower_lag_records{follower="b"} 0'),
  )
  await askUntil(`${ofB.address}/ready`, ({ status }) => status === 200)
  return { a, b, ofA, ofB }
}

describe('/metrics', () => {
  test('parses, and has the names and units that Prometheus expects', async () => {
    const { ofA, ofB } = await pair()
    const leader = await scrape(ofA)
    const get = (name: string): number | undefined => leader.samples.get(name)
    for (const [name, type] of leader.types) {
      expect(name).toMatch(/^understudy_[a-z_]+$/)
      if (type === 'counter') expect(name).toMatch(/_total$/)
      expect(name).not.toMatch(/_ms|millis/)
    }
    expect(get('understudy_failed')).toBe(0)
    expect(get('understudy_state{state="leading"}')).toBe(1)
    expect(get('understudy_follower_connected{follower="b"}')).toBe(1)
    expect(get('understudy_follower_state{follower="b",state="streaming",sync_state="async"}')).toBe(1)
    expect(get('understudy_follower_lag_seconds{follower="b"}')).toBe(0)
    expect(get('understudy_follower_applied_lsn{follower="b"}')).toBe(get('understudy_log_durable_lsn'))
    expect(get('understudy_slot_state{slot="b",state="reserved"}')).toBe(1)
    expect(get('understudy_commit_duration_seconds_count')).toBe(2)
    expect(get('understudy_group_writes_bucket{le="1"}')).toBe(2)
    expect(get('understudy_group_writes_bucket{le="+Inf"}')).toBe(2)
    expect(get('understudy_log_sync_duration_seconds_count')).toBeGreaterThanOrEqual(2)
    expect(get('understudy_events_total{kind="followerJoined"}')).toBe(1)
    const follower = await scrape(ofB)
    expect(follower.samples.get('understudy_lag_records')).toBe(0)
    expect(follower.samples.get('understudy_lag_bytes')).toBe(0)
    expect(follower.samples.get('understudy_leader_heard_seconds')).toBeLessThan(1)
  })

  test('buckets are cumulative, and of the same bounds in every scrape', async () => {
    const { a, ofA } = await pair()
    await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        a.write((tx) => tx.run('insert into note (body) values (?)', [`${n}`])),
      ),
    )
    const { samples } = await scrape(ofA)
    const buckets = [...samples].filter(([name]) =>
      name.startsWith('understudy_commit_duration_seconds_bucket'),
    )
    expect(buckets.map(([name]) => name).slice(0, 2)).toEqual([
      'understudy_commit_duration_seconds_bucket{le="0.0001"}',
      'understudy_commit_duration_seconds_bucket{le="0.00025"}',
    ])
    const counts = buckets.map(([, value]) => value)
    expect(counts).toEqual(counts.toSorted((x, y) => x - y))
    expect(counts.at(-1)).toBe(102)
    expect(samples.get('understudy_commit_duration_seconds_count')).toBe(102)
  })

  test('what is not known has no sample: before the node, of a leader what followers have, of a follower without its leader', async () => {
    const idle = await scrape(await monitor())
    expect([...idle.samples.keys()]).toEqual([])
    const { a, ofA, ofB } = await pair()
    const leader = await scrape(ofA)
    for (const name of [
      'lag_records',
      'lag_bytes',
      'lag_seconds',
      'leader_lsn',
      'certificate_expiry_timestamp_seconds',
    ])
      expect([...leader.samples.keys()].filter((each) => each.startsWith(`understudy_${name}`))).toEqual([])
    await a.close()
    await askUntil(`${ofB.address}/status`, ({ json }) => json['state'] === 'disconnected')
    const { samples } = await scrape(ofB)
    for (const name of ['lag_records', 'lag_bytes', 'lag_seconds', 'leader_lsn', 'leader_heard_seconds'])
      expect(samples.has(`understudy_${name}`)).toBe(false)
    expect(samples.get('understudy_failed')).toBe(0)
    expect(samples.get('understudy_state{state="disconnected"}')).toBe(1)
  })

  test('a stopped follower is seen: not connected, no lag, its slot kept; and forgotten it is gone', async () => {
    const { a, b, ofA } = await pair()
    await b.close()
    await askUntil(`${ofA.address}/metrics`, ({ text }) =>
      text.includes('understudy_follower_connected{follower="b"} 0'),
    )
    await a.write((tx) => tx.run("insert into note (body) values ('y')"))
    const { samples } = await scrape(ofA)
    expect(samples.has('understudy_follower_lag_records{follower="b"}')).toBe(false)
    expect(samples.get('understudy_follower_gone_seconds{follower="b"}')).toBeGreaterThanOrEqual(0)
    expect(samples.get('understudy_slot_held_bytes{slot="b"}')).toBeGreaterThan(0)
    a.forget('b')
    const after = await scrape(ofA)
    expect([...after.samples.keys()].filter((name) => name.includes('"b"'))).toEqual([])
  })

  test('two monitors in one process share nothing', async () => {
    const cluster = new Cluster()
    const [one, two] = [await monitor(), await monitor()]
    const node = await cluster.start('a', 'leader', { observe: one.observe })
    expect((await scrape(one)).samples.get('understudy_failed')).toBe(0)
    expect([...(await scrape(two)).samples.keys()]).toEqual([])
    expect(() => one.observe(node)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }) as Error)
  })
})

describe('/health and /ready', () => {
  test('before the node: it lives, and is not ready', async () => {
    const { address } = await monitor()
    expect(await ask(`${address}/health`)).toMatchObject({
      status: 200,
      json: { healthy: true, state: 'starting' },
    })
    expect(await ask(`${address}/ready`)).toMatchObject({
      status: 503,
      json: { reasons: [{ code: 'NOT_STARTED' }] },
    })
    expect((await ask(`${address}/status`)).status).toBe(503)
    expect((await ask(`${address}/events`)).status).toBe(503)
  })

  test('a leader takes writes and reads, a follower reads alone', async () => {
    const { ofA, ofB } = await pair()
    expect(await ask(`${ofA.address}/ready`)).toMatchObject({
      status: 200,
      json: { ready: true, for: 'writes' },
    })
    expect(await ask(`${ofA.address}/ready?for=reads`)).toMatchObject({
      status: 200,
      json: { stalenessMs: 0 },
    })
    expect(await ask(`${ofB.address}/ready`)).toMatchObject({ status: 200, json: { for: 'reads' } })
    expect(await ask(`${ofB.address}/ready?for=writes`)).toMatchObject({
      status: 503,
      json: { ready: false, reasons: [{ code: 'IS_FOLLOWER' }] },
    })
    for (const query of [
      'for=both',
      'stalenessMsMax=-1',
      'stalenessMsMax=x',
      'stale=1',
      'for=reads&for=reads',
    ])
      expect((await ask(`${ofB.address}/ready?${query}`)).status).toBe(400)
  })

  test('a follower whose leader is gone is not ready, whatever staleness is asked for, and lives', async () => {
    const { a, ofB } = await pair()
    await a.close()
    const answer = await askUntil(
      `${ofB.address}/ready?stalenessMsMax=100000000`,
      ({ status }) => status === 503,
    )
    expect(answer.json).toMatchObject({ reasons: [{ code: 'STALENESS_UNKNOWN' }] })
    expect((await ask(`${ofB.address}/health`)).status).toBe(200)
  })

  test('a closed node does not live', async () => {
    const { a, ofA } = await pair()
    await a.close()
    expect(await ask(`${ofA.address}/health`)).toMatchObject({
      status: 503,
      json: { reasons: [{ code: 'NODE_CLOSED' }] },
    })
    expect((await ask(`${ofA.address}/ready`)).status).toBe(503)
  })
})

describe('/events', () => {
  test('streams what the node tells, numbered, and ends with it', async () => {
    const { a, b, ofA } = await pair()
    const reader = await readEvents(`${ofA.address}/events`)
    expect(reader.response.headers['content-type']).toBe('text/event-stream; charset=utf-8')
    await b.close()
    const left = await reader.next()
    expect(left).toMatchObject({ event: 'followerLeft', data: { kind: 'followerLeft', name: 'b' } })
    expect(Number(left?.id)).toBe(left?.data['sequence'])
    expect(Date.parse(String(left?.data['at']))).toBeGreaterThan(0)
    await a.close()
    expect((await reader.next())?.event).toBe('closed')
    expect(await reader.next()).toBeUndefined()
  })

  test('are only so many at once, and a reader that left makes room', async () => {
    const cluster = new Cluster()
    const { address, observe } = await monitor({ limits: { eventStreamsMax: 1 } })
    await cluster.start('a', 'leader', { observe })
    const reader = await readEvents(`${address}/events`)
    expect((await ask(`${address}/events`)).status).toBe(503)
    reader.close()
    while ((await ask(`${address}/events`, { method: 'HEAD' })).status !== 200);
  })

  test('end when the monitor is closed; the node goes on', async () => {
    const { a, ofA } = await pair()
    const reader = await readEvents(`${ofA.address}/events`)
    await ofA.close()
    expect(await reader.next().catch(() => undefined)).toBeUndefined()
    await a.write((tx) => tx.run("insert into note (body) values ('z')"))
    await expect(ask(`${ofA.address}/health`)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })
})

describe('the server', () => {
  test('refuses an address that others reach, unless it is said that it may', async () => {
    await expect(startMonitor({ listen: 'http://0.0.0.0:0' })).rejects.toMatchObject({
      code: 'INSECURE_ADDRESS',
    })
    await expect(startMonitor({ listen: 'tcp://127.0.0.1:0' })).rejects.toMatchObject({
      code: 'ADDRESS_INVALID',
    })
    await expect(startMonitor({ listen: 'http://127.0.0.1:0/x' })).rejects.toMatchObject({
      code: 'ADDRESS_INVALID',
    })
    await expect(
      startMonitor({ listen: 'http://127.0.0.1:0', limits: { connectionsMax: 0 } }),
    ).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    const open = await monitor({ listen: 'http://0.0.0.0:0', insecure: true })
    const port = new URL(open.address).port
    expect((await ask(`http://127.0.0.1:${port}/health`, { headers: { host: 'db.example' } })).status).toBe(
      200,
    )
    await expect(startMonitor({ listen: `http://127.0.0.1:${port}` })).rejects.toMatchObject({
      code: 'LISTEN_FAILED',
    })
  })

  test('answers GET and HEAD without a body, by an address of this machine, and nothing else', async () => {
    const { address } = await monitor()
    const head = await ask(`${address}/health`, { method: 'HEAD' })
    expect([head.status, head.text]).toEqual([200, ''])
    expect(head.headers).toMatchObject({ 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' })
    expect(await ask(`${address}/health`, { method: 'POST' })).toMatchObject({
      status: 405,
      headers: { allow: 'GET, HEAD' },
    })
    expect(
      (await ask(`${address}/health`, { method: 'GET', body: 'x', headers: { 'content-length': 1 } })).status,
    ).toBe(413)
    expect((await ask(`${address}/health`, { headers: { host: 'evil.example' } })).status).toBe(403)
    expect((await ask(`${address}/health`, { headers: { host: 'localhost:1' } })).status).toBe(200)
    expect((await ask(`${address}/nothing`)).status).toBe(404)
    expect((await ask(`${address}/health`, { headers: { x: 'y'.repeat(9000) } })).status).toBe(431)
  })

  test('closes a connection too many', async () => {
    const { address } = await monitor({ limits: { connectionsMax: 1 } })
    const { port } = new URL(address)
    const first = connect(Number(port), '127.0.0.1')
    await once(first, 'connect')
    const second = connect(Number(port), '127.0.0.1')
    await once(second, 'close')
    first.destroy()
  })
})
