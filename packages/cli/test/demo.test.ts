/** The demo itself, small: its result, its last line, and that it leaves neither processes nor files. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CommandProcess, list, parse, run, temporaryFolder, text } from './helpers.ts'

/** Process ids that the demo told of. */
function pidsIn(lines: readonly string[]): number[] {
  return lines.flatMap((line) => {
    const pid = /process (\d+)/.exec(line)?.[1]
    return pid === undefined ? [] : [Number(pid)]
  })
}

function isAlive(pid: number): boolean {
  try {
    // A process that ended and was not reaped yet is no longer alive.
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

test('it holds: the last line is the result, nothing is left behind', { timeout: 180_000 }, async () => {
  const directory = join(temporaryFolder(), 'demo')
  const demo = new CommandProcess('demo', '--rows', '2000', '--directory', directory, '--json')
  expect(await demo.ended).toBe(0)
  const events = demo.lines.map(parse)
  const result = parse(demo.lines.at(-1))
  expect(Object.keys(result)).toEqual([
    'ok',
    'commits',
    'ackedLost',
    'failoverMs',
    'idsReused',
    'lostTail',
    'nodes',
    'seconds',
  ])
  expect(result).toMatchObject({ ok: true, ackedLost: 0, idsReused: 0 })
  // The lease of the dead leader ends first; how long the rest takes depends on the machine.
  expect(result['failoverMs']).toBeGreaterThan(100)
  expect(result['lostTail']).toBeGreaterThanOrEqual(0)
  expect(result['commits']).toBeGreaterThan(400)
  const [a, b, c] = list(result['nodes'])
  expect([a, b, c].map((node) => node?.['name'])).toEqual(['a', 'b', 'c'])
  for (const node of [a, b, c]) {
    expect(node?.['position']).toMatch(/^[2-9]\/\d+$/)
    expect(node?.['digest']).toMatch(/^[0-9a-f]{64}$/)
    expect(node).toEqual({ ...a, name: node?.['name'] })
  }
  for (const { kind } of events.slice(0, -1)) expect(kind).toEqual(expect.any(String))
  expect(events.slice(0, -1).filter(({ kind }) => text(kind) === 'step')).toHaveLength(6)
  const pids = pidsIn(demo.lines)
  // Three nodes, and two that came back.
  expect(new Set(pids).size).toBe(5)
  expect(pids.filter(isAlive)).toEqual([])
  expect(existsSync(directory)).toBe(false)
  expect(demo.errors).toBe('')
})

for (const group of [false, true])
  test(
    `Ctrl-C${group ? ' in a terminal, which the nodes get as well,' : ''} ends it with its processes and its files`,
    { timeout: 180_000 },
    async () => {
      const directory = join(temporaryFolder(), 'demo')
      const argv = ['--rows', '2000', '--directory', directory]
      const demo = group
        ? new CommandProcess({ group }, 'demo', ...argv)
        : new CommandProcess('demo', ...argv)
      await demo.line((line) => line.includes('follower c is process'))
      const pid = demo.child.pid ?? 0
      process.kill(group ? -pid : pid, 'SIGINT')
      expect(await demo.ended).toBe(1)
      expect(demo.errors).toMatch(/^ABORTED /)
      expect(pidsIn(demo.lines).filter(isAlive)).toEqual([])
      expect(existsSync(directory)).toBe(false)
    },
  )

test(
  'a node that dies by itself fails the demo, which keeps the data and names it',
  { timeout: 180_000 },
  async () => {
    const directory = join(temporaryFolder(), 'demo')
    const demo = new CommandProcess('demo', '--rows', '2000', '--directory', directory, '--json')
    const started = await demo.line((line) => line.includes('follower c is process'))
    process.kill(pidsIn([started])[0] ?? 0, 'SIGKILL')
    expect(await demo.ended).toBe(1)
    const result = parse(demo.lines.at(-1))
    expect(result).toMatchObject({ ok: false, error: { code: 'DEMO_FAILED' }, directory })
    expect(result['error']?.['message']).toContain('node c ended by itself (SIGKILL)')
    expect(readdirSync(directory)).toContain('a')
    expect(pidsIn(demo.lines).filter(isAlive)).toEqual([])
  },
)

test('a demo that is killed takes its nodes with it', { timeout: 180_000 }, async () => {
  const demo = new CommandProcess('demo', '--rows', '2000', '--directory', join(temporaryFolder(), 'demo'))
  await demo.line((line) => line.includes('follower c is process'))
  const pids = pidsIn(demo.lines)
  expect(pids).toHaveLength(3)
  demo.child.kill('SIGKILL')
  await demo.ended
  await expect.poll(() => pids.filter(isAlive), { timeout: 20_000 }).toEqual([])
})

test('a directory with something in it is refused and left alone', async () => {
  const folder = temporaryFolder()
  writeFileSync(join(folder, 'mine'), 'x')
  const { code, error } = await run('demo', '--directory', folder)
  expect(code).toBe(1)
  expect(error[0]).toMatch(/^INVALID_ARGUMENT .*not empty/)
  expect(readdirSync(folder)).toEqual(['mine'])
})
