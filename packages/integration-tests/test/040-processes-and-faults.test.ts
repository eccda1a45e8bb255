/** Real processes under load on a network that is cut, with one leader for good: what is acknowledged stays, in an order that the clocks allow. */
import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { FLAGS } from './support/rig/children.ts'
import { ProcessCluster } from './support/rig/cluster.ts'
import { namespacesMissing } from './support/rig/namespaces.ts'

const missing = namespacesMissing()

describe.for(['proxies', 'namespaces'] as const)('on %s', (kind) => {
  const title = kind === 'namespaces' && missing !== undefined ? ` (skipped: ${missing})` : ''
  test.skipIf(title !== '')(
    `a leader that is cut, killed and paused under load${title}`,
    { timeout: 120_000 },
    async () => {
      const cluster = await ProcessCluster.open({ kind })
      const load = cluster.load()
      await load.more(100)
      // Each follower by itself: the other one acknowledges.
      for (const name of ['b', 'c']) {
        cluster.cut('a', name)
        await load.more(50)
        cluster.heal('a', name)
        await load.more(50)
      }
      cluster.cutOneWay('b', 'a')
      cluster.cutOneWay('a', 'c')
      // Whoever acknowledges cannot, or hears nothing: writes wait.
      const failed = load.failed
      await load.until(() => load.failed > failed, 30_000, 'a call without an answer')
      cluster.healAll()
      await load.more(50)
      await cluster.kill('a')
      await cluster.restart('a')
      await load.more(50)
      cluster.pause('a')
      const before = load.failed
      await load.until(() => load.failed > before, 30_000, 'a call without an answer')
      cluster.resume('a')
      await load.more(50)
      const { writes, registers } = await cluster.judge()
      expect(writes.ok).toBeGreaterThan(100)
      expect(registers.ok).toBeGreaterThan(100)
      expect(writes.unknown + registers.unknown).toBeGreaterThan(0)
    },
  )
})

test(
  'what is taken from a cluster behind the back of its clients is noticed, and the history can be judged again',
  { timeout: 60_000 },
  async () => {
    const cluster = await ProcessCluster.open({ kind: 'proxies', names: ['a', 'b'] })
    const load = cluster.load()
    await load.more(60)
    await load.stop()
    const client = await cluster.client('a')
    const { rows } = await client.read('select id, value from note order by id limit 3')
    const [lost, moved, other] = rows.map(([id, value]) => ({ id: Number(id), value: String(value) }))
    await client.write([
      { sql: 'delete from note where id = ?', params: [lost!.id] },
      { sql: 'update note set id = id + 1000000 where id = ?', params: [moved!.id] },
      { sql: 'update note set id = ? where id = ?', params: [moved!.id, other!.id] },
      { sql: "update register set value = 'nobody'" },
    ])
    const failure = String(await cluster.judge().catch((error: unknown) => error))
    expect(failure).toContain(`lost "${lost!.value}": an acknowledged write is not there`)
    expect(failure).toContain('it stands behind')
    expect(failure).toContain(`id ${moved!.id} was given to ${moved!.value}, and is that of ${other!.value}`)
    expect(failure).toContain('read → "nobody": before it was answered')
    const folder = /-- (.*)\/<file>/.exec(failure)?.[1] ?? ''
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    for (const file of ['acked-writes.jsonl', 'register.jsonl']) {
      const program = join(import.meta.dirname, '../src/history/main.ts')
      const args = [...FLAGS, program, join(folder, file), '--json']
      const { status, stdout } = spawnSync(process.execPath, args, { encoding: 'utf8' })
      expect(status).toBe(1)
      expect(JSON.parse(stdout)).toMatchObject({ verdict: 'broken' })
    }
  },
)
