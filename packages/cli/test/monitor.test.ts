/** `start --monitor` with real processes: a follower that is stopped, a leader that is. */
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { list, parse, run, startNode, temporaryFolder, text, type RunningNode } from './helpers.ts'

function monitorOf({ process }: RunningNode): string {
  const line = process.lines.find((each) => each.includes('"kind":"monitor"'))
  return text(parse(line)['address'])
}

async function ask(url: string): Promise<{ readonly status: number; readonly body: string }> {
  const response = await fetch(url)
  return { status: response.status, body: await response.text() }
}

/** The value of a sample, once it is so. */
async function sampleUntil(
  address: string,
  name: string,
  fits: (value: number | undefined) => boolean,
): Promise<number | undefined> {
  for (;;) {
    const line = (await ask(`${address}/metrics`)).body
      .split('\n')
      .find((each) => each.startsWith(`${name} `))
    const value = line === undefined ? undefined : Number(line.slice(name.length))
    if (fits(value)) return value
  }
}

test('metrics show a follower that stands still; its own reads are ready until its leader stands still', async () => {
  const folder = temporaryFolder()
  const a = await startNode('a', join(folder, 'a'), '--monitor', 'http://127.0.0.1:0')
  const b = await startNode('b', join(folder, 'b'), '--leader', a.address, '--monitor', 'http://127.0.0.1:0')
  const [ofA, ofB] = [monitorOf(a), monitorOf(b)]
  await sampleUntil(ofA, 'understudy_follower_lag_records{follower="b"}', (value) => value === 0)
  expect((await ask(`${ofB}/ready?stalenessMsMax=3000`)).status).toBe(200)

  b.process.child.kill('SIGSTOP')
  onTestFinished(() => void b.process.child.kill('SIGCONT'))
  await run('sql', a.address, 'create table note (id integer primary key autoincrement, body text)')
  await run('sql', a.address, "insert into note (body) values ('x')")
  expect(
    await sampleUntil(ofA, 'understudy_follower_lag_records{follower="b"}', (value) => value === 2),
  ).toBe(2)
  const age = await sampleUntil(
    ofA,
    'understudy_follower_lag_seconds{follower="b"}',
    (value) => (value ?? 0) > 0.3,
  )
  expect(age).toBeLessThan(5)
  const status = (await run('status', a.address, '--json')).json
  const [follower] = list(list(status['nodes'])[0]?.['status']?.['followers'])
  expect(follower?.['lag']).toMatchObject({ records: 2, ageIsAtLeast: false })
  expect(Number(follower?.['lag']?.['bytes'])).toBeGreaterThan(0)
  b.process.child.kill('SIGCONT')
  await sampleUntil(ofA, 'understudy_follower_lag_records{follower="b"}', (value) => value === 0)

  a.process.child.kill('SIGSTOP')
  onTestFinished(() => void a.process.child.kill('SIGCONT'))
  let answer = await ask(`${ofB}/ready?stalenessMsMax=3000`)
  while (answer.status === 200) answer = await ask(`${ofB}/ready?stalenessMsMax=3000`)
  expect([answer.status, parse(answer.body)['reasons']]).toMatchObject([503, [{ code: 'STALENESS_UNKNOWN' }]])
  expect((await ask(`${ofB}/health`)).status).toBe(200)
  a.process.child.kill('SIGCONT')
})

test('an address that others reach needs --monitor-insecure, which needs --monitor', async () => {
  const start = ['start', '--name', 'a', '--directory', join(temporaryFolder(), 'a')]
  expect((await run(...start, '--monitor', 'http://0.0.0.0:0')).error[0]).toMatch(
    /^INSECURE_ADDRESS .*--monitor-insecure/,
  )
  expect((await run(...start, '--monitor-insecure')).error[0]).toMatch(/^INVALID_ARGUMENT --monitor-insecure/)
  expect((await run(...start, '--monitor', 'tcp://127.0.0.1:0')).error[0]).toMatch(/^ADDRESS_INVALID /)
})
