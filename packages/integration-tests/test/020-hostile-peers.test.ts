/** What a peer's names and files can reach on a node's disk: nothing but what the node makes itself, for itself. */
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { crc32 } from 'node:zlib'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ORIGIN, systemClock } from '@understudy/contracts'
import { generationPaths } from '@understudy/node'
import { Connection, PROTOCOL_VERSION, type Hello } from '@understudy/protocol'
import { tcp } from '@understudy/transport-tcp'
import { lyingTransport, type Lie } from './support/lying-transport.ts'
import { LiveNodes, countRows, failureOf, insertRows, refusal } from './support/live-nodes.ts'

let nodes: LiveNodes
beforeEach(() => {
  nodes = new LiveNodes()
})
afterEach(async () => {
  await nodes[Symbol.asyncDispose]()
})

/** Everything beneath a folder, with the folder itself, by path. */
function everything(folder: string): string[] {
  const found = readdirSync(folder, { recursive: true, withFileTypes: true })
  return ['', ...found.map((entry) => relative(folder, join(entry.parentPath, entry.name)))].toSorted()
}

const HELLO: Hello = {
  type: 'hello',
  versionMin: PROTOCOL_VERSION,
  versionMax: PROTOCOL_VERSION,
  purpose: 'snapshot',
  cluster: '',
  node: 'stranger',
  history: [],
  end: ORIGIN,
  formats: [],
}

const NAMES: readonly (readonly [string, string])[] = [
  ['a parent', '../../escape'],
  ['a parent of Windows', '..\\..\\escape'],
  ['absolute', '/tmp/understudy-escape'],
  ['a drive', 'C:\\escape'],
  ['a NUL', 'a\0b'],
  ['a line break', 'a\nb'],
  ['a dot', '.'],
  ['two dots', '..'],
  ['empty', ''],
  ['an escape sequence of a terminal', '\u001B[31mred'],
  ['a space', 'a b'],
  ['65 letters', 'x'.repeat(65)],
  ['the own slot', 'local'],
  ['__proto__', '__proto__'],
  ['SQL', `'); drop table t; --`],
  ['a stream of Windows', 'a:b'],
  ['right to left', '\u202Etxt.exe'],
]

test.each(NAMES)(
  '020 a follower cannot have a name that is a path, a command or nothing: %s',
  async (_name, name) => {
    const leader = await nodes.leader(2)
    for (const purpose of ['snapshot', 'replicate'] as const) {
      const connection = new Connection(await tcp().connect(leader.node.address!), systemClock())
      connection.send({ ...HELLO, purpose, node: name })
      const error = await refusal(connection.next({ timeoutMs: 5000 }).then(({ type }) => type))
      expect(error.code).toBe('INVALID_ARGUMENT')
      expect(error.message).toMatch(/^[ -~]+$/)
      connection.close()
    }
    expect(leader.node.slots().map((slot) => slot.name)).toEqual(['local'])
    await insertRows(leader.node, 1)
    expect(await countRows(leader.node)).toBe(3)
  },
)

test.each(['NUL', 'CON.sqlite', 'constructor', 'toString', 'database.sqlite', 'node.state', 'log'])(
  '020 the name of a follower is a slot, and names no file: %s',
  async (name) => {
    const leader = await nodes.leader(2)
    const before = everything(nodes.directory('a'))
    await nodes.follower(leader, { name })
    await insertRows(leader.node, 1)
    expect(
      leader.node
        .slots()
        .map((slot) => slot.name)
        .toSorted(),
    ).toEqual(['local', name].toSorted())
    // What a node makes while it works anyway: segments, a spare one, its slots.
    const added = everything(nodes.directory('a')).filter((path) => !before.includes(path))
    expect(added.filter((path) => !/^generation-1\/log\/[a-z0-9.-]+$/.test(path))).toEqual([])
    expect(readdirSync(nodes.folder).toSorted()).toEqual(['a', name].toSorted())
    const status = JSON.parse(JSON.stringify(leader.node.status())) as { readonly followers?: unknown }
    expect(JSON.stringify(status)).toContain(`"${name}"`)
  },
)

test('020 a name as long as a frame is refused before anything is done with it', async () => {
  const leader = await nodes.leader(1)
  const connection = new Connection(await tcp().connect(leader.node.address!), systemClock())
  expect(() => connection.send({ ...HELLO, node: 'x'.repeat(100_000) })).toThrow(
    expect.objectContaining({ code: expect.stringMatching(/INVALID_ARGUMENT|FRAME_TOO_LARGE/) }),
  )
  connection.close()
  expect(leader.node.slots().map((slot) => slot.name)).toEqual(['local'])
})

test('020 every file of a leader, of a follower and of an import is for its user alone', async () => {
  const umask = process.umask(0)
  try {
    const leader = await nodes.leader(5)
    const follower = await nodes.follower(leader)
    await leader.node.checkpoint()
    await follower.node.checkpoint()
    await leader.node.close()
    await follower.node.close()
    await nodes.start({
      name: 'imported',
      importFrom: generationPaths(nodes.directory('a'), 1).database,
    })
    const modes = ['a', 'b', 'imported'].flatMap((name) =>
      everything(nodes.directory(name)).map((path) => {
        const stats = statSync(join(nodes.directory(name), path))
        const mode = (stats.mode & 0o777).toString(8)
        return mode === (stats.isDirectory() ? '700' : '600') ? 'right' : `${name}/${path} has ${mode}`
      }),
    )
    expect([...new Set(modes)]).toEqual(['right'])
    expect(modes.length).toBeGreaterThan(15)
  } finally {
    process.umask(umask)
  }
})

/** A follower that starts empty beside a leader that lies; why it gave up. */
async function bootstrapFrom(lie: Lie): Promise<{ code: string; message: string; retries: string[] }> {
  const leader = await nodes.leader(50, { transport: lyingTransport(tcp(), lie) })
  const retries: string[] = []
  const failure = await refusal(
    nodes.start({
      name: 'b',
      leader: leader.node.address!,
      onEvent: (event) => {
        if (event.kind === 'snapshotRetry') retries.push(event.error.code)
      },
    }),
    20_000,
  )
  expect(await countRows(leader.node)).toBe(50)
  return { code: failure.code, message: failure.message, retries }
}

/** No generation counts, and SQLite never made a file beside what came. */
function expectUnused(): void {
  const found = everything(nodes.directory('b')).filter((path) => path.startsWith('generation-'))
  expect(found.filter((path) => !/^generation-1(\/database\.sqlite(\.progress)?)?$/.test(path))).toEqual([])
}

test('020 a crafted database beneath a wrong digest is never opened', async () => {
  const { code, message } = await bootstrapFrom((message) => {
    if (message.type !== 'snapshotChunk' || message.bytes.length === 0) return message
    const bytes = Buffer.from(message.bytes)
    bytes.fill(0xa7, 100)
    return { ...message, bytes, crc: crc32(bytes) }
  })
  expect(code).toBe('SNAPSHOT_CORRUPT')
  // Had SQLite seen it, it would have said what it thinks of its pages.
  expect(message).toMatch(/does not have the digest/)
  expect(message).not.toMatch(/malformed|database disk image/)
  expectUnused()
})

test('020 a size, a page size or a position that the file does not have is noticed', async () => {
  const { code, message } = await bootstrapFrom((message) =>
    message.type === 'snapshotStart' ? { ...message, point: { ...message.point, crc: 12_345 } } : message,
  )
  expect(code).toBe('SNAPSHOT_CORRUPT')
  expect(message).toMatch(/position is not the one that was announced/)
  expectUnused()
})

test.each([
  [
    'a view in the place of a table of the node',
    'create view _understudy_trigger as select * from t',
    /view has to do/,
  ],
  [
    'a trigger on a table of the node',
    `create table _understudy_x (a);
      create trigger w after insert on _understudy_x begin delete from t; end`,
    /trigger has to do/,
  ],
  ['a free list beyond the end', 'delete from t where id < 1900', /damaged|malformed/],
])('020 a hostile database with a right digest is not used: %s', async (name, sql, reason) => {
  const first = await nodes.leader(1)
  await first.node.write((tx) => {
    for (let i = 0; i < 2000; i++) tx.run('insert into t (v) values (?)', [`row ${i}`.padEnd(100)])
  })
  await first.node.close()
  const path = generationPaths(nodes.directory('a'), 1).database
  rmSync(`${path}.closed`)
  const database = new DatabaseSync(path, { defensive: false })
  database.exec(sql)
  database.close()
  if (name.startsWith('a free list')) {
    const bytes = readFileSync(path)
    bytes.writeUInt32BE(4_000_000, 32)
    writeFileSync(path, bytes)
  }
  const leader = await nodes.start({ name: 'a' })
  const failure = await refusal(nodes.start({ name: 'b', leader: leader.node.address! }), 20_000)
  expect(failure.code).toBe('SNAPSHOT_CORRUPT')
  expect(failure.message).toMatch(reason)
  expectUnused()
})

test('020 a follower that has data keeps it when its leader sends nothing that can be used', async () => {
  let lies = false
  const leader = await nodes.leader(3, {
    transport: lyingTransport(tcp(), (message) =>
      lies && message.type === 'snapshotEnd' ? { ...message, digest: new Uint8Array(32) } : message,
    ),
    slotBytesMax: 256 * 1024,
    segmentBytes: 64 * 1024,
  })
  const follower = await nodes.follower(leader)
  await follower.node.close()
  lies = true
  for (let i = 0; i < 30; i++)
    await leader.node.write((tx) => tx.run('update t set v = ?', [`${i} `.padEnd(20_000, 'y')]))
  await leader.node.checkpoint()
  expect(leader.node.slots().find(({ name }) => name === 'b')?.state).toBe('lost')
  const again = await nodes.start({ name: 'b', leader: leader.node.address! })
  expect((await failureOf(again)).code).toBe('SNAPSHOT_CORRUPT')
  await again.node.close()
  const kept = new DatabaseSync(generationPaths(nodes.directory('b'), 1).database, { readOnly: true })
  expect(kept.prepare("select count(*) as n from t where v like 'row %'").get()).toEqual({ n: 3 })
  kept.close()
})
