/** A cluster of processes that fails over, as a person at the terminal meets it. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CommandProcess, list, run, temporaryFolder, text, type Json, type Ran } from './helpers.ts'

const NAMES = ['a', 'b', 'c']

class Cluster {
  readonly folder: string = temporaryFolder()
  readonly processes: Map<string, CommandProcess> = new Map()
  readonly #options: readonly string[]

  constructor(...options: string[]) {
    this.#options = options
  }

  address(name: string): string {
    return `unix://${join(this.folder, `${name}.sock`)}`
  }

  directory(name: string): string {
    return join(this.folder, name)
  }

  process(name: string): CommandProcess {
    return this.processes.get(name) as CommandProcess
  }

  /** As a service would start it: the same words each time, `--found` apart. */
  start(name: string, ...more: string[]): CommandProcess {
    const members = NAMES.map((each) => `${each}=${this.address(each)}`).join(',')
    const words = ['start', '--name', name, '--directory', this.directory(name), '--members', members]
    const node = new CommandProcess(...(words as [string]), '--profile', 'no-loss', ...this.#options, ...more)
    this.processes.set(name, node)
    return node
  }

  /** Each node once it takes part, and the two others once they stream. */
  async open(...more: string[]): Promise<void> {
    const [first = '', ...others] = NAMES
    this.start(first, '--found', ...more)
    for (const name of others) this.start(name, ...more)
    await this.process(first).line((line) => line.includes('ready'))
    for (const name of others) await this.process(name).line((line) => line.includes('streaming'))
  }

  async kill(name: string): Promise<void> {
    this.process(name).child.kill('SIGKILL')
    await this.process(name).ended
  }

  async status(name: string): Promise<Json> {
    const { json } = await run('failover', 'status', this.address(name), '--json')
    return list(json['nodes'])[0]?.['failover'] as Json
  }
}

/** Asks until it holds; a test's own time ends that. */
async function until(ask: () => Promise<Ran>, holds: (ran: Ran) => boolean): Promise<Ran> {
  for (;;) {
    const ran = await ask()
    if (holds(ran)) return ran
  }
}

test(
  'with a coordinator: who leads is told, handed over, replaced after a crash, explained and paused',
  { timeout: 120_000 },
  async () => {
    const cluster = new Cluster('--coordinator', `sqlite:${join(temporaryFolder(), 'coordinator.db')}`)
    await cluster.open()
    const [a, b, c] = NAMES.map((name) => cluster.process(name)) as [
      CommandProcess,
      CommandProcess,
      CommandProcess,
    ]
    const start = await a.line((line) => line.startsWith('ready leader a of cluster'))
    expect(a.lines.filter((line) => line === 'a leads, epoch 1')).toHaveLength(1)
    expect(start).toContain(cluster.address('a'))
    expect(await b.line((line) => line.startsWith('ready'))).toContain('ready follower b of no cluster yet')
    expect(await b.line((line) => line.startsWith('follows a'))).toContain(
      `follows a at ${cluster.address('a')}, epoch 1`,
    )
    const sql = (name: string, ...statements: string[]): Promise<Ran> =>
      run('sql', cluster.address(name), ...statements)
    expect((await sql('a', 'create table t (id text primary key not null)')).code).toBe(0)

    const handed = await run('switchover', cluster.address('c'), 'b', '--json')
    expect(handed).toMatchObject({ code: 0, json: { ok: true, leader: 'b', epoch: 2 } })
    expect(handed.json).not.toHaveProperty('mayLose')
    await a.line((line) => line.startsWith('stepped down: '))
    await a.line((line) => line.startsWith('follows b at '))
    expect((await sql('b', `insert into t values ('kept')`)).code).toBe(0)

    await cluster.kill('b')
    const led = await until(
      () => run('failover', 'status', cluster.address('a'), cluster.address('c'), '--json'),
      ({ json }) =>
        list(json['nodes']).every((node) => {
          const leader = node['failover']?.['leader']
          return leader !== undefined && Number(leader['epoch']) >= 3
        }),
    )
    const [first] = list(led.json['nodes'])
    const leader = text(first?.['failover']?.['leader']?.['name'])
    expect(['a', 'c']).toContain(leader)
    const written = await until(
      () => sql(leader, `insert or ignore into t values ('after')`),
      ({ code }) => code === 0,
    )
    expect(written.code).toBe(0)
    expect((await sql(leader, 'select id from t order by id', '--json')).json).toMatchObject({
      results: [{ rows: [['after'], ['kept']] }],
    })

    // The former leader rejoins by itself, started with the same words.
    cluster.start('b')
    await cluster.process('b').line((line) => line.startsWith(`follows ${leader}`))
    await cluster.process('b').line((line) => line === 'streaming')

    const why = await run('failover', 'explain', cluster.directory(leader))
    expect(why.code).toBe(0)
    expect(why.out.join('\n')).toMatch(
      new RegExp(`${leader} decided: promote ${leader} in the epoch \\d[^]*replayed {5}the same`),
    )
    const asked = await run('failover', 'explain', cluster.address(leader), '--last', '1', '--json')
    expect(list(asked.json['decisions'])).toMatchObject([
      { decision: { action: { kind: 'promote', name: leader } }, isSame: true },
    ])

    expect((await run('failover', 'pause', cluster.address('b'))).out).toEqual([
      'automatic failover is paused',
    ])
    // Its leader hears of it from the coordinator, a moment later.
    const paused = await until(
      () => run('failover', 'status', cluster.address(leader)),
      ({ out }) => out[0]?.endsWith('is paused') === true,
    )
    expect(paused.out[0]).toMatch(
      new RegExp(
        `^${leader} leads, epoch \\d, \\d+ ms of its lease left; coordinator sqlite, automatic failover is paused$`,
      ),
    )
    const shown = await run('status', cluster.address(leader), cluster.address('b'))
    expect(shown.code).toBe(0)
    for (const name of [leader, 'b'])
      expect(shown.out).toContainEqual(
        expect.stringMatching(
          new RegExp(
            `^failover of ${name}: ${leader} leads, epoch \\d, automatic failover is paused; if the leader died now: `,
          ),
        ),
      )
    expect((await run('failover', 'resume', cluster.address(leader), '--json')).json).toEqual({
      ok: true,
      paused: false,
    })
    for (const name of NAMES) {
      const node = cluster.process(name)
      node.child.kill('SIGTERM')
      expect(await node.ended).toBe(0)
      expect(node.lines.at(-1)).toBe('stopped')
      expect(node.errors).toBe('')
    }
    expect(c.errors).toBe('')
  },
)

test(
  'without a coordinator a person promotes; a loss must be accepted, and is named',
  { timeout: 120_000 },
  async () => {
    const cluster = new Cluster('--coordinator', 'manual')
    await cluster.open('--json')
    const write = async (name: string, id: string): Promise<Ran> =>
      run('sql', cluster.address(name), `insert into t values ('${id}')`)
    expect(
      (await run('sql', cluster.address('a'), 'create table t (id text primary key not null)')).code,
    ).toBe(0)
    expect((await write('a', 'kept')).code).toBe(0)

    const early = await run('promote', cluster.address('b'))
    expect(early.code).toBe(1)
    expect(early.error).toHaveLength(1)
    expect(early.error[0]).toMatch(
      /^FAILOVER_REFUSED Not done: a leads\. Nobody was promoted\. What helps: .*switchover/,
    )
    expect((await run('failover', 'pause', cluster.address('b'))).error[0]).toMatch(
      /^FAILOVER_REFUSED .*no coordinator/,
    )

    await cluster.kill('a')
    const promoted = await run('promote', cluster.address('c'), 'b', '--timeout', '30000', '--json')
    expect(promoted).toMatchObject({ code: 0, json: { ok: true, leader: 'b', epoch: 2 } })
    expect(promoted.json).not.toHaveProperty('mayLose')
    const fits = (event: Json): boolean => text(event['name']) === 'b' && Number(event['epoch']) === 2
    await cluster.process('c').event('leader', fits)
    expect((await write('b', 'two')).code).toBe(0)

    await cluster.kill('b')
    const refused = await run('promote', cluster.address('c'), '--json')
    expect(refused.code).toBe(1)
    expect(refused.json).toMatchObject({ ok: false, error: { code: 'FAILOVER_REFUSED' } })
    expect(text(refused.json['error']?.['message'])).toMatch(/could be lost\..*bring back/)
    const accepted = await run('promote', cluster.address('c'), '--accept-loss')
    expect(accepted.code).toBe(0)
    expect(accepted.out[0]).toMatch(/^c leads, epoch 3, after /)
    expect(accepted.out[1]).toMatch(/^may be lost: acknowledged commits after 2\/\d+/)
    expect(await cluster.status('c')).toMatchObject({ leads: true, coordinator: { kind: 'manual' } })

    await cluster.kill('c')
    const { json } = await run('failover', 'explain', cluster.directory('c'), '--json')
    const decisions = list(json['decisions'])
    expect(decisions.map(({ isSame }) => isSame)).not.toContain(false)
    expect(decisions.map((each) => each['decision']?.['action']?.['kind'])).toEqual(
      expect.arrayContaining(['refuse', 'promote']),
    )
  },
)
