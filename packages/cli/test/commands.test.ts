/** Each command against real nodes: what a person reads, what a machine reads, what the exit code says. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { mayOnlyRead } from '../src/commands/sql.ts'
import { list, parse, run, startNode, temporaryFolder, text, type RunningNode } from './helpers.ts'

async function cluster(): Promise<{ folder: string; a: RunningNode; b: RunningNode }> {
  const folder = temporaryFolder()
  const a = await startNode('a', join(folder, 'a'))
  const b = await startNode('b', join(folder, 'b'), '--leader', a.address)
  return { folder, a, b }
}

const NOTES = 'create table note (id integer primary key autoincrement, body text)'

test('a statement that can only write is known by its first word', () => {
  for (const sql of [
    'insert into t',
    ' -- so\n/* or\nso */ ;UPDATE t',
    'create table t',
    'vacuum',
    'replace into t',
  ])
    expect([sql, mayOnlyRead(sql)]).toEqual([sql, false])
  for (const sql of [
    'select 1',
    '--x\nSELECT 1',
    'with a as (select 1) select 1',
    'pragma user_version',
    '(nonsense',
    '',
  ])
    expect([sql, mayOnlyRead(sql)]).toEqual([sql, true])
})

describe('a leader and a follower', () => {
  test('sql writes through the follower to the leader and reads its own write on the follower', async () => {
    const { a, b } = await cluster()
    expect((await run('sql', a.address, NOTES)).code).toBe(0)
    const wrote = await run('sql', b.address, "insert into note (body) values ('über')", '--json')
    expect(wrote.json).toMatchObject({ ok: true, results: [{ changes: 1 }] })
    const position = text(wrote.json['position'])
    const read = await run('sql', b.address, 'select * from note', '--after', position, '--json')
    expect(list(read.json['results'])[0]).toEqual({
      columns: ['id', 'body'],
      rows: [[1, 'über']],
      changes: 0,
    })
    const shown = await run('sql', b.address, 'select * from note')
    expect(shown.out.slice(0, 2)).toEqual(['id  body', '1   über'])
  })

  test('sql --connect writes wherever the leader is and reads by preference, at least what an answer before saw', async () => {
    const { a, b } = await cluster()
    const both = ['sql', '--connect', `${b.address},${a.address}`] as const
    expect((await run(...both, NOTES)).code).toBe(0)
    const wrote = await run(...both, "insert into note (body) values ('one')", '--json')
    expect(wrote.json).toMatchObject({
      ok: true,
      node: 'a',
      results: [{ changes: 1 }],
      receipt: { asked: 'local' },
    })
    const token = text(wrote.json['token'])
    const read = await run(
      ...both,
      'select body from note',
      '--prefer',
      'follower',
      '--after',
      token,
      '--json',
    )
    expect(read.json).toMatchObject({ ok: true, node: 'b', results: [{ rows: [['one']] }] })
    const shown = await run(...both, 'select body from note', '--max-staleness-ms', '60000')
    expect(shown.out[0]).toBe('body')
    expect(shown.out.slice(2)).toEqual([
      expect.stringMatching(/^position 1\/\d+, by [ab]$/),
      expect.stringMatching(/^token u1\./),
    ])
    const keyed = [...both, "insert into note (body) values ('two')", '--key', 'k'] as const
    expect((await run(...keyed, '--json')).json).toMatchObject({ replayed: false })
    expect((await run(...keyed, '--json')).json).toMatchObject({ replayed: true })
    for (const argv of [
      ['sql', a.address, 'select 1', '--prefer', 'any'],
      ['sql', a.address],
      ['sql'],
      [...both, 'select 1', '--after', '1/3'],
    ])
      expect((await run(...argv, '--json')).json['error']).toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  test('a write with a key is done once, and its receipt is checked on any node', async () => {
    const { a, b } = await cluster()
    await run('sql', a.address, NOTES)
    const insert = ['sql', b.address, "insert into note (body) values ('once')", '--key', 'order-17'] as const
    const asks = ['--ack', 'durable', '--of', 'any 1 (b, c)']
    const first = await run(...insert, ...asks, '--json')
    expect(first.json).toMatchObject({
      ok: true,
      replayed: false,
      receipt: { asked: 'durable', reached: 'durable', members: [{ name: 'b' }] },
    })
    const again = await run(...insert, '--json')
    expect(again.json).toMatchObject({ replayed: true, valueKept: true, position: first.json['position'] })
    expect((await run(...insert, ...asks)).out).toEqual([
      'done before under this key',
      '1 row changed',
      `position ${text(first.json['position'])}, durable by b`,
    ])
    const count = await run('sql', a.address, 'select count(*) from note', '--json')
    expect(list(count.json['results'])[0]?.['rows']).toEqual([[1]])
    const other = await run('sql', a.address, 'delete from note', '--key', 'order-17', '--json')
    expect([other.code, other.json['error']]).toMatchObject([1, { code: 'KEY_REUSED' }])

    const receipt = JSON.stringify(first.json)
    // A lone group is acknowledged for sure on a follower once its leader says so, which the next message does.
    await run('sql', b.address, 'select 1', '--after', text(first.json['position']))
    const checked = await run('receipt', 'check', b.address, receipt, '--json')
    expect([checked.code, checked.json]).toMatchObject([0, { ok: true, node: 'b', verdict: 'committed' }])
    expect((await run('receipt', 'check', a.address, receipt)).out[0]).toMatch(/^\d+\/\d+ committed \(a: /)
    const reached = await run('receipt', 'reach', a.address, receipt, '--level', 'applied')
    expect(reached.out).toEqual([`${text(first.json['position'])} applied on b`])
    const late = await run(
      'receipt',
      'reach',
      a.address,
      receipt,
      '--count',
      '2',
      '--timeout-ms',
      '20',
      '--json',
    )
    expect([late.code, late.json['error']]).toMatchObject([1, { code: 'TIMEOUT' }])
    const future = JSON.stringify({ ...(first.json['receipt'] as object), position: { epoch: 9, lsn: 9 } })
    expect((await run('receipt', 'check', a.address, future, '--json')).code).toBe(3)
    const none = await run('receipt', 'check', a.address, '{"position":1}', '--json')
    expect([none.code, none.json['error']]).toMatchObject([1, { code: 'INVALID_ARGUMENT' }])
  })

  test('a write that asks for followers that are not there is not done, and holds up nobody', async () => {
    const { a } = await cluster()
    await run('sql', a.address, NOTES)
    const write = ['sql', a.address, "insert into note (body) values ('x')"] as const
    const refused = await run(...write, '--of', 'any 1 (x)', '--ack-timeout-ms', '50', '--json')
    expect([refused.code, refused.json['error']]).toMatchObject([1, { code: 'NOT_WRITTEN' }])
    expect((await run(...write)).code).toBe(0)
    const unknown = await run('sql', a.address, 'select 1', '--of', 'async', '--json')
    expect(unknown.json['error']).toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  test('a follower that lags sends a write on to the leader all the same', async () => {
    const { a, b } = await cluster()
    // Sooner than a record travels, more often than not.
    for (let n = 0; n < 5; n++) {
      const [made, wrote] = [`create table t${n} (id integer primary key)`, `insert into t${n} values (1)`]
      expect((await run('sql', a.address, made)).code).toBe(0)
      expect((await run('sql', b.address, wrote)).error).toEqual([])
    }
  })

  test('several statements are one write: all or none', async () => {
    const { a } = await cluster()
    await run('sql', a.address, NOTES)
    const failed = await run(
      'sql',
      a.address,
      "insert into note (body) values ('x')",
      'insert into nowhere values (1)',
    )
    expect(failed.code).toBe(1)
    expect(failed.error).toEqual(['SQL_FAILED no such table: nowhere'])
    expect((await run('sql', a.address, 'select count(*) as n from note')).out[1]).toBe('0')
  })

  test('values that JSON numbers cannot carry stay whole', async () => {
    const { a } = await cluster()
    const { json } = await run('sql', a.address, "select 9007199254740993, x'00ff', null, 'a'", '--json')
    expect(list(json['results'])[0]?.['rows']).toEqual([['9007199254740993', '00ff', null, 'a']])
  })

  test('status tells role, position and lag of each node, and of the dead one that it is', async () => {
    const { a, b } = await cluster()
    const alive = await run('status', a.address, b.address, '--json')
    expect(alive.code).toBe(0)
    expect(list(alive.json['nodes']).map((node) => node['status']?.['role'])).toEqual(['leader', 'follower'])
    expect(list(alive.json['nodes'])[1]?.['status']?.['following']).toMatchObject({ leader: a.address })
    b.process.child.kill('SIGKILL')
    await b.process.ended
    const half = await run('status', a.address, b.address)
    expect(half.code).toBe(1)
    expect(half.out[1]).toMatch(/^a +tcp:.* leader +leading/)
    expect(half.out.at(-1)).toMatch(new RegExp(`^${b.address}: CONNECT_FAILED `))
    expect(half.error).toEqual([])
    const machine = await run('status', a.address, b.address, '--json')
    expect(machine.json).toMatchObject({
      ok: false,
      nodes: [{ ok: true }, { ok: false, error: { code: 'CONNECT_FAILED' } }],
    })
  })

  test('acks show and set: another rule while the leader runs, and what is refused', async () => {
    const { a, folder } = await cluster()
    await run('sql', a.address, NOTES)
    let followers = ''
    while (!/^b +streaming /m.test(followers)) followers = (await run('status', a.address)).out.join('\n')
    const set = (...more: readonly string[]): ReturnType<typeof run> => run('acks', 'set', a.address, ...more)
    const done = await set('any 1 (b) durable', '--on-unmet', 'degrade', '--ack-timeout', '5000', '--json')
    expect(done.json).toMatchObject({ ok: true, rule: 'any 1 (b) durable', position: expect.any(String) })
    const shown = await run('acks', a.address, '--json')
    expect(shown.json).toMatchObject({
      ok: true,
      rule: 'durable ANY 1 (b)',
      effective: 'durable ANY 1 (b)',
      onUnmet: 'degrade',
    })
    expect((await run('acks', 'show', a.address)).out[0]).toBe(
      'acks of a: durable ANY 1 (b), in force, nothing waits, on unmet degrade',
    )
    const refused = await set('any 1 (c)')
    expect(refused.code).toBe(1)
    expect(refused.error[0]).toMatch(/^NOT_WRITTEN The ack rule was not changed: .* do not stream: c\./)
    expect((await set('sync:b')).error[0]).toMatch(/^INVALID_ARGUMENT Acks: sync says that all of them/)
    expect((await set('first 3 (b)')).error[0]).toMatch(/^INVALID_ARGUMENT .*can never be met/)
    expect((await set('async')).out[0]).toMatch(/^acks are async from \d+\/\d+ on$/)
    const log = (await run('log', join(folder, 'a'))).out.join('\n')
    expect(log).toContain('"acks": "local after durable ANY 1 (b)"')
    expect((await run('acks', 'set', '--help')).out.join('\n')).toContain('understudy acks set tcp://')
  })

  test('acks of a follower are not to be had', async () => {
    const { b } = await cluster()
    expect((await run('acks', 'show', b.address)).error[0]).toMatch(/^NOT_LEADER Node b does not lead/)
    expect((await run('acks', 'set', b.address, 'async')).error[0]).toMatch(/^NOT_LEADER /)
  })

  test('start --sidecar replicates a database that another program writes, and takes no writes', async () => {
    const folder = temporaryFolder()
    const app = join(folder, 'app.db')
    using program = new DatabaseSync(app)
    program.exec('pragma journal_mode = wal; create table note (id integer primary key, body text)')
    const a = await startNode('a', join(folder, 'a'), '--sidecar', app)
    const b = await startNode('b', join(folder, 'b'), '--leader', a.address)
    program.exec("insert into note (body) values ('from outside')")
    const { code } = await run('verify', a.address, b.address)
    expect(code).toBe(0)
    expect((await run('sql', b.address, 'select body from note')).out[1]).toBe('from outside')
    const refused = await run('sql', b.address, 'delete from note')
    expect(refused.error[0]).toMatch(/^WRITE_FORBIDDEN .*app\.db belongs to the program that writes it/)
    expect(
      (
        await run(
          'start',
          '--name',
          'c',
          '--directory',
          join(folder, 'c'),
          '--sidecar',
          app,
          '--format',
          'row',
        )
      ).error[0],
    ).toMatch(/^INVALID_ARGUMENT sidecar needs a format of pages/)
  })

  test('status compares a shadow format with the one in force', async () => {
    const a = await startNode('a', join(temporaryFolder(), 'a'), '--shadow', 'statement')
    await run('sql', a.address, NOTES)
    await run('sql', a.address, "insert into note (body) values ('x')")
    const shown = await run('status', a.address)
    expect(shown.out.find((each) => each.startsWith('shadow'))).toMatch(
      /^shadow of a: statement 2 groups, \d+ B, \d+ B and \d+\.\d+ ms each, 0 refused; in force: row 2 groups, /,
    )
    const machine = await run('status', a.address, '--json')
    expect(list(machine.json['nodes'])[0]?.['status']?.['shadow']).toMatchObject({
      format: 'statement',
      groups: 2,
      refused: 0,
      primary: { format: 'row', groups: 2 },
    })
  })

  test('verify compares all tables at one position, in any order of addresses', async () => {
    const { a, b } = await cluster()
    await run('sql', a.address, NOTES)
    await run('sql', a.address, "insert into note (body) values ('x'), ('y')")
    const { code, json } = await run('verify', b.address, a.address, '--json')
    expect(code).toBe(0)
    expect(json).toMatchObject({ ok: true, failures: {} })
    const note = list(json['tables']).find(({ table }) => text(table) === 'note')
    expect(note).toMatchObject({ equal: true, nodes: { a: { rows: 2 }, b: { rows: 2 } } })
    const shown = await run('verify', a.address, b.address)
    expect(shown.out.at(-1)).toMatch(/^ok the same rows at 1\/\d+$/)
  })

  test('verify without the leader says whose address is missing', async () => {
    const { b } = await cluster()
    const { code, error } = await run('verify', b.address)
    expect(code).toBe(1)
    expect(error[0]).toMatch(/^NOT_LEADER .*Add the address of the leader/)
  })

  test('slots lists what holds the log, drops a follower that is gone, keeps what the node needs', async () => {
    const { a, b } = await cluster()
    expect(
      list((await run('slots', a.address, '--json')).json['slots'])
        .map((slot) => text(slot['name']))
        .toSorted(),
    ).toEqual(['b', 'local'])
    b.process.child.kill('SIGTERM')
    await b.process.ended
    const dropped = await run('slots', a.address, '--drop', 'b')
    expect(dropped.code).toBe(0)
    expect(dropped.out[0]).toBe('dropped b')
    expect((await run('slots', a.address, '--drop', 'b')).error[0]).toMatch(/^SLOT_UNKNOWN /)
    expect((await run('slots', a.address, '--drop', 'local')).error[0]).toMatch(/^INVALID_ARGUMENT .*kept/)
  })

  test('status shows followers that are connected and gone; forget lets go of one that is gone', async () => {
    const { a, b } = await cluster()
    // Its first ack may be under way still: until then what it has applied is unknown.
    let shown = ''
    while (!/^b +streaming for .* none +/m.test(shown))
      shown = (await run('status', a.address)).out.join('\n')
    expect(shown).toMatch(/followers of a\n.*\nb +streaming for .* async +\d+ +\d+ +\d+ +\d+ +none/)
    expect((await run('forget', a.address, 'b')).error[0]).toMatch(
      /^MEMBER_IN_USE b cannot be forgotten: it is connected\. .*Stop it first/,
    )
    b.process.child.kill('SIGTERM')
    await b.process.ended
    const gone = await run('status', a.address, '--json')
    expect(list(gone.json['nodes'])[0]?.['status']).toMatchObject({
      followers: [],
      absentFollowers: [{ name: 'b', state: 'disconnected', slot: { state: 'reserved' } }],
    })
    expect((await run('status', a.address)).out.join('\n')).toMatch(
      /gone, with slots of a\n.*\nb +disconnected +\d+ ms/,
    )
    expect((await run('forget', a.address, 'b')).out).toEqual(['forgot b'])
    expect((await run('forget', a.address, 'b', '--json')).json).toMatchObject({
      ok: false,
      error: { code: 'SLOT_UNKNOWN' },
    })
    expect((await run('status', a.address)).out.join('\n')).not.toContain('gone')
  })

  test('exposure lists what was committed while followers did not acknowledge, on every node', async () => {
    const folder = temporaryFolder()
    const rule = ['--acks', 'semi-sync:b', '--on-unmet', 'degrade', '--ack-timeout', '50']
    const a = await startNode('a', join(folder, 'a'), ...rule)
    for (const sql of [NOTES, "insert into note (body) values ('exposed')"])
      expect((await run('sql', a.address, sql)).code).toBe(0)
    const machine = await run('exposure', a.address, '--json')
    expect(machine.code).toBe(1)
    expect(machine.json).toMatchObject({ ok: false, knownFrom: 1, forgotten: 0 })
    const [range] = list(machine.json['ranges'])
    expect(range).toMatchObject({
      why: 'lowered',
      commits: 2,
      asked: 'durable FIRST 1 (b)',
      isOpen: true,
      state: 'exposed',
      holders: [],
    })
    const shown = await run('exposure', a.address, '--since', '1h')
    expect(shown.out.join('\n')).toMatch(/durable FIRST 1 \(b\) +local .* exposed/)
    const b = await startNode('b', join(folder, 'b'), '--leader', a.address)
    const later = await run('exposure', b.address, '--since', '9/999999', '--json')
    expect([later.code, later.error]).toEqual([0, []])
    expect((await run('exposure', a.address, '--since', 'yesterday')).error[0]).toMatch(/^INVALID_ARGUMENT /)
  })

  test('log prints every record with its rows while the node runs, also for a machine', async () => {
    const { folder, a } = await cluster()
    await run('sql', a.address, NOTES)
    await run('sql', a.address, "insert into note (body) values ('seen')")
    const { code, out } = await run('log', join(folder, 'a'), '--json')
    expect(code).toBe(0)
    const records = out.map(parse)
    expect(records.map(({ position }) => position)).toEqual(['1/1', '1/2', '1/3'])
    expect(records[0]?.['payload']?.['epoch']).toMatchObject({ number: 1, leader: 'a' })
    expect(records[2]?.['payload']?.['steps']).toContainEqual(
      expect.objectContaining({ table: 'note', inserts: [{ id: 1, body: 'seen' }] }),
    )
    const some = await run('log', join(folder, 'a'), '--from', '2', '--limit', '1', '--no-payload')
    expect(some.out).toHaveLength(1)
    expect(some.out[0]).toMatch(/^1\/2 row /)
  })
})

test('lint names tables whose ids can be given twice, and the exit code says so', async () => {
  const a = await startNode('a', join(temporaryFolder(), 'a'))
  await run('sql', a.address, 'create table safe (id integer primary key autoincrement, v)')
  expect(await run('lint', a.address)).toMatchObject({ code: 0, out: ['no table gives an id twice'] })
  await run('sql', a.address, 'create table unsafe (id integer primary key, v)')
  const machine = await run('lint', a.address, '--json')
  expect(machine.code).toBe(1)
  expect(machine.json).toMatchObject({ ok: false, findings: [{ table: 'unsafe', column: 'id' }] })
  const { out } = await run('lint', a.address)
  expect(out.join('\n')).toMatch(/^unsafe: .*given twice[^]*autoincrement/)
})

test('lost tails of a directory without any, and one that nobody kept', async () => {
  const folder = temporaryFolder()
  expect((await run('lost-tail', 'list', folder)).out).toEqual(['no lost tails'])
  expect((await run('lost-tail', 'list', folder, '--json')).json).toEqual({ ok: true, lostTails: [] })
  for (const command of [
    ['show'],
    ['discard'],
    ['diff', 'tcp://127.0.0.1:1'],
    ['apply', 'tcp://127.0.0.1:1'],
  ]) {
    const [name = '', ...address] = command
    const { code, error } = await run('lost-tail', name, folder, '1-1-1-00000000', ...address)
    expect([name, code]).toEqual([name, 1])
    expect(error.join('\n')).toMatch(/^INVALID_ARGUMENT .*there is none/)
  }
})

describe('mistakes', () => {
  test('a wrong command line is exit code 2 and says what is wrong', async () => {
    for (const [argv, words] of [
      [['frob'], "unknown command 'frob'"],
      [['start', '--name', 'a'], '--directory'],
      [['sql', 'tcp://127.0.0.1:1'], 'statement'],
      [['verify', 'tcp://127.0.0.1:1', '--timeout', 'soon'], 'positive whole number'],
      [['log', '.', '--from', 'x'], 'whole number'],
      [['demo', '--rows', '0'], 'positive whole number'],
      [['start', '--name', 'a', '--directory', 'x', '--snapshot-rate', '-1'], 'positive whole number'],
    ] as const) {
      const { code, error } = await run(...argv)
      expect([argv, code]).toEqual([argv, 2])
      expect(error.join('\n')).toContain(words)
    }
  })

  test('every command shows examples, and its version', async () => {
    for (const command of [
      'demo',
      'start',
      'status',
      'sql',
      'verify',
      'log',
      'slots',
      'forget',
      'exposure',
      'lint',
      'lost-tail list',
      'lost-tail show',
      'lost-tail diff',
      'lost-tail apply',
      'lost-tail discard',
      'failover',
      'failover status',
      'failover explain',
      'failover pause',
      'failover resume',
      'promote',
      'switchover',
      'rejoin',
    ]) {
      const { code, out } = await run(...command.split(' '), '--help')
      expect(code).toBe(0)
      expect(out.join('\n')).toMatch(/Examples:\n +\$ understudy /)
      expect(out.join('\n')).toContain('--json')
    }
    expect((await run('--version')).out[0]).toMatch(/^\d+\.\d+\.\d+/)
  })

  test('an address without a scheme, or of nobody, is one line with its code', async () => {
    for (const [address, code] of [
      ['127.0.0.1:7401', 'ADDRESS_INVALID'],
      ['tcp://127.0.0.1:1', 'CONNECT_FAILED'],
    ] as const) {
      for (const command of [
        ['sql', address, 'select 1'],
        ['verify', address],
        ['slots', address],
        ['exposure', address],
      ]) {
        const result = await run(...command)
        expect(result.code).toBe(1)
        expect(result.error).toHaveLength(1)
        expect(result.error[0]).toMatch(new RegExp(`^${code} `))
        const machine = await run(...command, '--json')
        expect(machine.json).toMatchObject({ ok: false, error: { code } })
      }
    }
  })

  test('sql refuses a position that is none, a transaction of its own, a table without a key', async () => {
    const { address } = await startNode('a', join(temporaryFolder(), 'a'))
    expect((await run('sql', address, 'select 1', '--after', 'yesterday')).error[0]).toMatch(
      /^INVALID_ARGUMENT /,
    )
    expect((await run('sql', address, 'begin')).error[0]).toMatch(/^WRITE_FORBIDDEN /)
    expect((await run('sql', address, 'create table t (x)')).error[0]).toMatch(/^TABLE_WITHOUT_PRIMARY_KEY /)
    expect((await run('sql', address, 'select 1; select 2')).error[0]).toMatch(/^INVALID_ARGUMENT /)
  })

  test('log says that there is none, in a missing, an empty and a foreign place', async () => {
    const folder = temporaryFolder()
    mkdirSync(join(folder, 'empty'))
    writeFileSync(join(folder, 'file'), 'x')
    for (const place of ['missing', 'empty', 'file']) {
      const { code, error } = await run('log', join(folder, place))
      expect(code).toBe(1)
      expect(error).toHaveLength(1)
      expect(error[0]).toMatch(/^INVALID_ARGUMENT /)
    }
  })
})
