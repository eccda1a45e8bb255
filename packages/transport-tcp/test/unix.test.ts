import { once } from 'node:events'
import { fork } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { tcp } from '../src/index.ts'
import { listening, pair, pattern, Recorded } from './peers.ts'

let folder = ''
let address = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'unix-'))
  address = `unix://${folder}/a.sock`
})
afterEach(() => rmSync(folder, { recursive: true }))

const ignore = (): void => {}

test('channels work, and name the socket as their peer', async () => {
  await using both = await pair({}, {}, address)
  both.dialler.channel.send([pattern(100_000)])
  await both.acceptor.framesArrived(1)
  expect(both.acceptor.frames[0]).toEqual(pattern(100_000))
  expect([both.dialler.channel.remote, both.acceptor.channel.remote]).toEqual([address, address])
  expect(both.listener.address).toBe(address)
})

test('the socket is for its owner alone, whatever the umask says, and gone at the end', async () => {
  const umask = process.umask(0)
  try {
    await using listener = await tcp().listen(address, ignore)
    expect(listener.address).toBe(address)
    expect(statSync(join(folder, 'a.sock')).mode & 0o777).toBe(0o600)
    expect(readdirSync(folder)).toEqual(['a.sock'])
  } finally {
    process.umask(umask)
  }
  expect(readdirSync(folder)).toEqual([])
})

test('a socket that somebody listens on is LISTEN_FAILED, and stays', async () => {
  await using both = await listening({}, address)
  await expect(tcp().listen(address, ignore)).rejects.toMatchObject({
    code: 'LISTEN_FAILED',
    details: { systemCode: 'EADDRINUSE' },
  })
  expect(readdirSync(folder)).toEqual(['a.sock'])
  const channel = new Recorded(await tcp().connect(both.listener.address))
  channel.channel.close()
  await channel.closed()
})

test('a socket that a killed process left is replaced', async () => {
  const script = join(folder, 'listen.mjs')
  writeFileSync(
    script,
    `import { createServer } from 'node:net'
     createServer().listen(${JSON.stringify(join(folder, 'a.sock'))}, () => process.send('listens'))`,
  )
  const child = fork(script)
  await once(child, 'message')
  child.kill('SIGKILL')
  await once(child, 'exit')
  expect(existsSync(join(folder, 'a.sock'))).toBe(true)
  await using both = await pair({}, {}, address)
  both.dialler.channel.send([pattern(3)])
  await both.acceptor.framesArrived(1)
})

test('a file that is no socket is LISTEN_FAILED, and stays', async () => {
  writeFileSync(join(folder, 'a.sock'), 'data')
  await expect(tcp().listen(address, ignore)).rejects.toMatchObject({
    code: 'LISTEN_FAILED',
    details: { systemCode: 'EEXIST' },
  })
  expect(statSync(join(folder, 'a.sock')).size).toBe(4)
})

test('a socket that another one put in its place is not removed', async () => {
  const first = await tcp().listen(address, ignore)
  rmSync(join(folder, 'a.sock'))
  await using second = await tcp().listen(address, ignore)
  await first.close()
  expect(readdirSync(folder)).toEqual(['a.sock'])
  expect(second.address).toBe(address)
})

test('two that begin at once: one gets it, the other is told', async () => {
  const outcomes = await Promise.allSettled([tcp().listen(address, ignore), tcp().listen(address, ignore)])
  const [won] = outcomes.filter((outcome) => outcome.status === 'fulfilled')
  const [lost] = outcomes.filter((outcome) => outcome.status === 'rejected')
  expect(lost?.reason).toMatchObject({ code: 'LISTEN_FAILED', details: { systemCode: 'EADDRINUSE' } })
  const channel = new Recorded(await tcp().connect(address))
  channel.channel.close()
  await won?.value.close()
  await channel.closed()
  expect(readdirSync(folder)).toEqual([])
})

test.each([
  ['a folder that is missing', 'ENOENT', 'missing/a.sock'],
  ['a folder that is a file', 'ENOTDIR', 'file/a.sock'],
])('%s is LISTEN_FAILED', async (_, systemCode, path) => {
  writeFileSync(join(folder, 'file'), '')
  await expect(tcp().listen(`unix://${folder}/${path}`, ignore)).rejects.toMatchObject({
    code: 'LISTEN_FAILED',
    details: { systemCode },
  })
})

test('a path that is too long is ADDRESS_INVALID, to listen and to dial', async () => {
  const long = `unix://${folder}/${'a'.repeat(108)}`
  await expect(tcp().listen(long, ignore)).rejects.toMatchObject({ code: 'ADDRESS_INVALID' })
  await expect(tcp().connect(long)).rejects.toMatchObject({ code: 'ADDRESS_INVALID' })
  // It fits, but what the socket is made in would not.
  const deep = join(folder, 'b'.repeat(104 - folder.length))
  mkdirSync(deep)
  await expect(tcp().listen(`unix://${deep}/a`, ignore)).rejects.toMatchObject({
    code: 'ADDRESS_INVALID',
    message: expect.stringContaining('folder is too long') as string,
  })
})

test('nobody there is CONNECT_FAILED', async () => {
  await expect(tcp().connect(address)).rejects.toMatchObject({
    code: 'CONNECT_FAILED',
    details: { systemCode: 'ENOENT' },
  })
})

test('connections have no address, so only their number in all is limited', async () => {
  await using both = await listening({}, address, { channelsMax: 3, channelsPerAddressMax: 1 })
  const diallers: Recorded[] = []
  for (let i = 0; i < 4; i++) diallers.push(new Recorded(await tcp().connect(address)))
  await diallers[3]?.closed()
  expect(both.refused).toEqual([expect.objectContaining({ code: 'OVERLOADED' })])
  expect(both.accepted).toHaveLength(3)
  for (const dialler of diallers) dialler.channel.close()
})
