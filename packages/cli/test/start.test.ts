/** `understudy start` as a process: signals, restarts, and the mistakes that a first start invites. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { CommandProcess, list, run, startNode, temporaryFolder, text } from './helpers.ts'

describe('stopping', () => {
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    test(`${signal} stops a leader and a follower cleanly`, async () => {
      const folder = temporaryFolder()
      const leader = new CommandProcess(
        'start',
        '--name',
        'a',
        '--directory',
        join(folder, 'a'),
        '--listen',
        'tcp://127.0.0.1:0',
      )
      const ready = await leader.line((line) => line.startsWith('ready leader a '))
      const address = /tcp:\S+?(?=,)/.exec(ready)?.[0] ?? ''
      const follower = new CommandProcess(
        'start',
        '--name',
        'b',
        '--directory',
        join(folder, 'b'),
        '--leader',
        address,
      )
      await follower.line((line) => line === 'streaming')
      for (const node of [follower, leader]) {
        node.child.kill(signal)
        expect(await node.ended).toBe(0)
        expect(node.lines.at(-1)).toBe('stopped')
        expect(node.errors).toBe('')
      }
    })
  }

  test(
    'a leader with --acks waits for its followers, says so in status and log, and lowers the rule by a record',
    { timeout: 30_000 },
    async () => {
      const folder = temporaryFolder()
      const node = (name: string, ...more: string[]): CommandProcess =>
        new CommandProcess('start', '--name', name, '--directory', join(folder, name), ...more)
      const acks = ['--acks', 'semi-sync:b,c', '--on-unmet', 'degrade', '--ack-timeout', '300']
      const leader = node('a', '--listen', 'tcp://127.0.0.1:0', ...acks)
      const address =
        /tcp:\S+?(?=,)/.exec(await leader.line((line) => line.startsWith('ready leader a ')))?.[0] ?? ''
      const follower = node('b', '--leader', address)
      await follower.line((line) => line === 'streaming')
      const write = async (statement: string): Promise<void> => {
        expect((await run('sql', address, statement)).code).toBe(0)
      }
      await write('create table t (id integer primary key)')
      const shown = (await run('status', address)).out.join('\n')
      expect(shown).toContain('acks of a: durable FIRST 1 (b, c), in force, nothing waits, on unmet degrade')
      expect(shown).toMatch(/^b +streaming for .* sync /m)
      follower.child.kill('SIGKILL')
      await follower.ended
      await write('insert into t values (1)')
      await leader.line((line) => line.startsWith('acks lowered to local'))
      expect((await run('status', address)).out.join('\n')).toContain('in force only local')
      expect((await run('log', join(folder, 'a'))).out.join('\n')).toMatch(
        /"acks": "durable FIRST 1 \(b, c\)"[\s\S]*"acks": "local"/,
      )
      leader.child.kill('SIGTERM')
      expect(await leader.ended).toBe(0)
    },
  )

  test('a follower whose leader is not there yet says so, waits, and can be stopped', async () => {
    const folder = temporaryFolder()
    const waiting = new CommandProcess(
      'start',
      '--name',
      'b',
      '--directory',
      join(folder, 'b'),
      '--leader',
      'tcp://127.0.0.1:1',
    )
    await waiting.line((line) => line.startsWith('CONNECT_FAILED ') && line.includes('Trying again'))
    waiting.child.kill('SIGINT')
    expect(await waiting.ended).toBe(0)
    expect(waiting.lines.at(-1)).toBe('stopped')
  })

  test('a follower that was started first gets its data once the leader comes', async () => {
    const folder = temporaryFolder()
    const leader = await startNode('a', join(folder, 'a'))
    leader.process.child.kill('SIGTERM')
    await leader.process.ended
    const follower = new CommandProcess(
      'start',
      '--name',
      'b',
      '--directory',
      join(folder, 'b'),
      '--leader',
      leader.address,
      '--json',
    )
    await follower.event('snapshotRetry')
    await startNode('a', join(folder, 'a'), '--listen', leader.address)
    await follower.event('state', ({ state }) => text(state) === 'streaming')
  })

  test('--until-input-ends stops a node whose parent is gone', async () => {
    const node = await startNode('a', join(temporaryFolder(), 'a'), '--until-input-ends')
    node.process.child.stdin.end()
    expect(await node.process.ended).toBe(0)
    expect(node.process.lines.at(-1)).toBe('{"kind":"stopped"}')
  })

  test('without it, a node does not care for its input', async () => {
    const node = await startNode('a', join(temporaryFolder(), 'a'))
    node.process.child.stdin.end()
    expect((await run('sql', node.address, 'select 1 as one')).out[1]).toBe('1')
  })

  test('a killed leader is back with everything, under a new epoch', async () => {
    const folder = temporaryFolder()
    const first = await startNode('a', folder)
    await run('sql', first.address, 'create table t (id integer primary key)')
    await run('sql', first.address, 'insert into t values (7)')
    first.process.child.kill('SIGKILL')
    expect(await first.process.ended).toBe('SIGKILL')
    const second = await startNode('a', folder)
    expect(
      list((await run('sql', second.address, 'select id from t', '--json')).json['results'])[0]?.['rows'],
    ).toEqual([[7]])
    expect(
      list((await run('status', second.address, '--json')).json['nodes'])[0]?.['status']?.['epoch'],
    ).toBe(2)
  })
})

describe('mistakes', () => {
  async function refused(...argv: string[]): Promise<string> {
    const { code, error } = await run('start', ...argv)
    expect(code).toBe(1)
    expect(error).toHaveLength(1)
    return error[0] ?? ''
  }

  test('a port in use', async () => {
    const folder = temporaryFolder()
    const { address } = await startNode('a', join(folder, 'a'))
    const line = await refused('--name', 'z', '--directory', join(folder, 'z'), '--listen', address)
    expect(line).toMatch(/^LISTEN_FAILED .*EADDRINUSE.*another one/)
  })

  test('an address without a scheme, for either option', async () => {
    const folder = temporaryFolder()
    for (const option of ['--listen', '--leader'])
      expect(
        await refused('--name', 'z', '--directory', join(folder, option), option, '127.0.0.1:7401'),
      ).toMatch(/^ADDRESS_INVALID .*tcp:\/\//)
  })

  test('a first start that failed leaves nothing that stands in the way of the next one', async () => {
    const folder = temporaryFolder()
    const { address } = await startNode('a', join(folder, 'a'))
    const directory = join(folder, 'b')
    // The address of the leader was forgotten, and the port is the leader's.
    await refused('--name', 'b', '--directory', directory, '--listen', address)
    await startNode('b', directory, '--leader', address)
  })

  test('two processes on one directory', async () => {
    const folder = temporaryFolder()
    await startNode('a', folder)
    expect(await refused('--name', 'a', '--directory', folder)).toMatch(/^DIRECTORY_LOCKED /)
  })

  test("another node's directory, and a follower's started as a leader", async () => {
    const folder = temporaryFolder()
    const a = await startNode('a', join(folder, 'a'))
    const b = await startNode('b', join(folder, 'b'), '--leader', a.address)
    for (const node of [b, a]) {
      node.process.child.kill('SIGTERM')
      await node.process.ended
    }
    expect(await refused('--name', 'x', '--directory', join(folder, 'a'))).toMatch(
      /^INVALID_ARGUMENT .*belongs to node a/,
    )
    expect(await refused('--name', 'b', '--directory', join(folder, 'b'))).toMatch(
      /^INVALID_ARGUMENT .*follower/,
    )
    const turned = await refused('--name', 'a', '--directory', join(folder, 'a'), '--leader', a.address)
    expect(turned).toMatch(/^DIRECTORY_OF_LEADER /)
  })

  test('an address that other machines reach needs --insecure, in so many words', async () => {
    const folder = temporaryFolder()
    const argv = ['--name', 'a', '--directory', join(folder, 'a'), '--listen', 'tcp://0.0.0.0:0']
    expect(await refused(...argv)).toMatch(/^INSECURE_ADDRESS .*--insecure/)
    const open = await startNode('a', join(folder, 'a'), '--listen', 'tcp://0.0.0.0:0', '--insecure')
    const port = Number(new URL(open.address).port)
    expect((await run('sql', `tcp://127.0.0.1:${port}`, 'select 1 as one')).out[1]).toBe('1')
  })

  test('garbage on the port harms nobody', async () => {
    const { address } = await startNode('a', join(temporaryFolder(), 'a'))
    const socket = connect(Number(new URL(address).port), '127.0.0.1')
    socket.on('error', () => {})
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
    await closed
    expect((await run('sql', address, 'select 1 as one')).out[1]).toBe('1')
  })
})

describe('--import', () => {
  function database(path: string, sql: string): void {
    const made = new DatabaseSync(path)
    made.exec(sql)
    made.close()
  }

  test('adopts a copy of a database, once', async () => {
    const folder = temporaryFolder()
    const file = join(folder, 'existing.db')
    database(file, "create table t (id integer primary key, v text); insert into t values (1, 'mine')")
    const a = await startNode('a', join(folder, 'a'), '--import', file)
    expect(
      list((await run('sql', a.address, 'select * from t', '--json')).json['results'])[0]?.['rows'],
    ).toEqual([[1, 'mine']])
    await run('sql', a.address, "insert into t values (2, 'new')")
    const b = await startNode('b', join(folder, 'b'), '--leader', a.address)
    expect((await run('verify', a.address, b.address, '--json')).json['ok']).toBe(true)
    a.process.child.kill('SIGTERM')
    await a.process.ended
    const again = await run('start', '--name', 'a', '--directory', join(folder, 'a'), '--import', file)
    expect(again.error[0]).toMatch(/^INVALID_ARGUMENT .*nothing was imported/)
    const original = new DatabaseSync(file)
    expect(original.prepare('select count(*) as n from t').get()).toEqual({ n: 1 })
    original.close()
  })

  test('a missing file, garbage, and a table without a key are refused and leave nothing', async () => {
    const folder = temporaryFolder()
    writeFileSync(join(folder, 'garbage.db'), 'this is no database, however long one looks at it')
    database(join(folder, 'keyless.db'), 'create table keyless (x)')
    for (const [file, words] of [
      ['missing.db', /^INVALID_ARGUMENT .*does not exist/],
      ['garbage.db', /^DATABASE_UNSUITABLE /],
      ['keyless.db', /^DATABASE_UNSUITABLE .*keyless/],
    ] as const) {
      const directory = join(folder, `for-${file}`)
      const { code, error } = await run(
        'start',
        '--name',
        'a',
        '--directory',
        directory,
        '--import',
        join(folder, file),
      )
      expect(code).toBe(1)
      expect(error).toHaveLength(1)
      expect(error[0]).toMatch(words)
      expect(existsSync(directory) ? readdirSync(directory).filter((name) => name !== 'lock') : []).toEqual(
        [],
      )
    }
  })

  test('a follower imports nothing', async () => {
    const argv = [
      'start',
      '--name',
      'b',
      '--directory',
      join(temporaryFolder(), 'b'),
      '--leader',
      'tcp://127.0.0.1:1',
      '--import',
      'x.db',
    ]
    expect((await run(...argv)).error[0]).toMatch(/^INVALID_ARGUMENT .*only a leader imports/)
  })

  test.each([
    [['--on-unmet', 'fail'], /--acks/],
    [['--acks', 'sync:b', '--on-unmet', 'degrade'], /need not/],
    [['--acks', 'any 2 (b)'], /can never be met/],
    [['--profile', 'no-loss'], /needs members.*two machines/],
    [['--profile', 'fast', '--members', 'b'], /would be ignored/],
    [['--profile', 'balanced', '--members', 'b', '--on-unmet', 'block'], /--profile balanced decides/],
    [['--profile', 'balanced', '--members', 'b', '--acks', 'semi-sync:b'], /the same thing twice/],
    [['--members', 'b'], /belong to a profile/],
    [['--acks', 'semi-sync:a,b'], /the leader itself/],
    [['--acks', 'sometimes'], /is no rule/],
  ] as const)('acks that contradict themselves: %j', async (options, message) => {
    const directory = join(temporaryFolder(), 'a')
    const { error } = await run('start', '--name', 'a', '--directory', directory, ...options)
    expect(error[0]).toMatch(/^INVALID_ARGUMENT /)
    expect(error[0]).toMatch(message)
    expect(existsSync(directory)).toBe(false)
  })
})
