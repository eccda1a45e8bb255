/** The commands about who leads: what they say of decisions, and of nodes that cannot fail over. */
import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { decideAndRecord, type MemberReport, type Observations } from '@understudy/failover'
import { expect, test } from 'vitest'
import { list, run, startNode, temporaryFolder } from './helpers.ts'

const RUN = '1'.repeat(16)

function report(lsn: number): MemberReport {
  return {
    end: { epoch: 1, lsn, crc: lsn },
    history: [{ number: 1, runId: RUN, leader: 'a', firstLsn: 1, crcBefore: 0 }],
    appliedLsn: lsn,
    state: 'streaming',
    deltaUnverified: false,
    logDamaged: false,
    receiversStopped: false,
    keptReceived: true,
    idsProven: true,
  }
}

/** `a` is dead, and only `b` is left: what it needs is on one of two. */
function line(at: number, acceptLoss: boolean): string {
  const observations: Observations = {
    nowMs: 1000,
    self: 'b',
    leader: 'a',
    verdict: { verdict: 'dead', silentMs: Infinity, reasons: ['nobody hears a'] },
    members: [{ name: 'a' }, { name: 'b', report: report(7) }, { name: 'c' }],
    coordinator: { kind: 'manual' },
    intent: { kind: 'promote', target: 'b', acceptLoss },
    policy: { mode: 'act', paused: false, allowAsyncFailover: false, turnMs: 1000, restMs: 0 },
  }
  return decideAndRecord(observations, at).line
}

function kept(...lines: string[]): string {
  const directory = join(temporaryFolder(), 'b')
  mkdirSync(directory)
  writeFileSync(join(directory, 'decisions.jsonl'), lines.map((each) => `${each}\n`).join(''))
  return directory
}

test('explain says what was decided, why, who was not chosen, what was seen, and that it is given again', async () => {
  const directory = kept(line(0, false), line(60_000, true))
  const { code, out, error } = await run('failover', 'explain', directory)
  expect(error).toEqual([])
  const text = out.join('\n')
  expect(text).toContain('1970-01-01T00:00:00.000Z  b decided: refuse')
  expect(text).toContain('1970-01-01T00:01:00.000Z  b decided: stop the receivers of b')
  expect(text).toContain('  asked by     a person (promote)')
  expect(text).toContain('  saw          b: streaming at 1/7, applied 7')
  expect(text).toContain('  saw          c: no answer')
  expect(text.match(/ {2}replayed {5}the same/g)).toHaveLength(2)
  expect(text.indexOf('refuse')).toBeLessThan(text.indexOf('stop the receivers'))
  expect(code).toBe(0)
})

test('the newest are shown, oldest first', async () => {
  const directory = kept(...[1, 2, 3].map((at) => line(at, false)))
  const { json } = await run('failover', 'explain', directory, '--last', '2', '--json')
  expect(json['ok']).toBe(true)
  expect(list(json['decisions']).map(({ at, isSame }) => [at, isSame])).toEqual([
    [2, true],
    [3, true],
  ])
})

test('a decision that its observations do not give is another one, and the exit code says so', async () => {
  const changed = line(1, false).replace('"lsn":7,"crc":7', '"lsn":9,"crc":7').replace('"refuse"', '"none"')
  const directory = kept(changed, line(2, false))
  const { code, out } = await run('failover', 'explain', directory)
  expect(code).toBe(1)
  expect(out.join('\n')).toMatch(/replayed {5}ANOTHER: refuse[\s\S]*replayed {5}the same/)
  const { json } = await run('failover', 'explain', directory, '--json')
  expect(json['ok']).toBe(false)
  expect(list(json['decisions']).map(({ isSame }) => isSame)).toEqual([false, true])
})

test('a line that cannot be read keeps nobody from reading the others', async () => {
  const path = join(kept(line(1, false), '{"at":', line(2, false)), 'decisions.jsonl')
  // A line that a crash cut off is no line yet.
  appendFileSync(path, '{"version"')
  const { code, out } = await run('failover', 'explain', '--file', path, '--json')
  expect(code).toBe(1)
  const { json } = { json: JSON.parse(out.at(-1) ?? '') as { decisions: { error?: { code: string } }[] } }
  expect(json.decisions.map(({ error }) => error?.code)).toEqual([
    undefined,
    'STATE_CORRUPT',
    undefined,
    'STATE_CORRUPT',
  ])
})

test('no decisions, no source, no such source', async () => {
  expect((await run('failover', 'explain', kept())).out[0]).toContain('no decisions')
  for (const argv of [[], [kept(), '--file', 'x'], [join(temporaryFolder(), 'gone')]]) {
    const { code, error } = await run('failover', 'explain', ...argv)
    expect(code).toBe(1)
    expect(error[0]).toContain('INVALID_ARGUMENT')
  }
  const { code, error } = await run('failover', 'explain', '--file', join(temporaryFolder(), 'gone'))
  expect(code).toBe(1)
  expect(error[0]).toContain('STORAGE_FAILED')
})

test(
  'a node without failover refuses each wish with what to do, in one line',
  { timeout: 30_000 },
  async () => {
    const { address } = await startNode('a', join(temporaryFolder(), 'a'))
    const wishes = [
      ['promote', address],
      ['promote', address, 'b', '--accept-loss'],
      ['switchover', address],
      ['failover', 'pause', address],
      ['failover', 'resume', address],
    ]
    for (const wish of wishes) {
      const { code, out, error } = await run(...wish)
      expect(code).toBe(1)
      expect(out).toEqual([])
      expect(error).toHaveLength(1)
      expect(error[0]).toMatch(/^FAILOVER_REFUSED Node a runs without failover.*Start every node/)
    }
    const { code, json } = await run('failover', 'status', address, 'tcp://127.0.0.1:1', '--json')
    expect(code).toBe(1)
    expect(json['ok']).toBe(false)
    expect(list(json['nodes']).map(({ error }) => error?.['code'])).toEqual([
      'FAILOVER_REFUSED',
      'CONNECT_FAILED',
    ])
    const explained = await run('failover', 'explain', address, '--json')
    expect([explained.code, explained.json]).toEqual([0, { ok: true, decisions: [] }])
  },
)

test('rejoin of a folder without data, and without a leader', async () => {
  const { code, error } = await run('rejoin', temporaryFolder(), '--leader', 'tcp://127.0.0.1:1')
  expect(code).toBe(1)
  expect(error[0]).toContain('INVALID_ARGUMENT')
  expect((await run('rejoin', temporaryFolder())).code).toBe(2)
})
