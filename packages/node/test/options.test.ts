import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { rowFormat } from '@understudy/format-row'
import { memoryTransport } from '@understudy/testkit/memory-transport'
import { describe, expect, test, vi } from 'vitest'
import { createNode, semiSync, type NodeOptions } from '../src/index.ts'
import { resolveOptions } from '../src/options.ts'
import { temporaryFolder } from './helpers.ts'

const LEADER: NodeOptions = {
  name: 'a',
  directory: 'unused',
  role: 'leader',
  format: rowFormat(),
  transport: memoryTransport(),
}
/** As far as the options can tell. */
const PAGES: NodeOptions['format'] = { ...rowFormat(), physical: true }
const FOLLOWER: NodeOptions = { ...LEADER, role: 'follower', leader: 'memory://a' }

describe('an option that cannot be honoured is an error before anything is made', () => {
  const bad: [string, Record<string, unknown>, string?][] = [
    ['no name', { ...LEADER, name: undefined }],
    ['an empty name', { ...LEADER, name: '' }],
    ['a name that is a path', { ...LEADER, name: '../a' }],
    ['a name over 64 characters', { ...LEADER, name: 'a'.repeat(65) }],
    ['the name of the own slot', { ...LEADER, name: 'local' }],
    ['an unknown role', { ...LEADER, role: 'primary' }],
    ['a follower without a leader', { ...FOLLOWER, leader: undefined }],
    ['a leader with a leader', { ...LEADER, leader: 'memory://b' }],
    ['a follower that imports', { ...FOLLOWER, importFrom: 'x.db' }],
    ['a sidecar that logs rows', { ...LEADER, sidecar: process.execPath }],
    ['a sidecar that follows', { ...FOLLOWER, format: PAGES, sidecar: process.execPath }],
    ['a sidecar of nothing', { ...LEADER, format: PAGES, sidecar: 'no such file' }],
    ['a sidecar that imports', { ...LEADER, format: PAGES, sidecar: process.execPath, importFrom: 'x.db' }],
    ['a sidecar that never looks', { ...LEADER, sidecarPollMs: 0 }],
    ['a leader that replaces a leader', { ...LEADER, replaceLeader: true }],
    ['a shadow that is the format', { ...LEADER, shadow: rowFormat() }],
    ['a shadow that is no format', { ...LEADER, shadow: 'wal' }],
    ['a follower with a shadow', { ...FOLLOWER, shadow: { ...rowFormat(), id: 40_000 } }],
    ['a follower that asks for acks', { ...FOLLOWER, acks: semiSync(['c']) }],
    ['acks of itself', { ...LEADER, acks: semiSync(['a', 'b']) }],
    ['acks of nobody', { ...LEADER, acks: { level: 'durable' } }],
    [
      'acks of more than there are',
      { ...LEADER, acks: { level: 'durable', of: { kind: 'any', count: 2, names: ['b'] } } },
    ],
    ['acks that wait for no time', { ...LEADER, acks: semiSync(['b'], { ackTimeoutMs: 0 }) }],
    [
      'acks of writes of another program',
      { ...LEADER, format: PAGES, sidecar: process.execPath, acks: semiSync(['b']) },
    ],
    ['an unknown profile', { ...LEADER, profile: 'safe', members: ['b'] }],
    ['members without a profile', { ...LEADER, members: ['b'] }],
    ['a profile beside acks', { ...LEADER, profile: 'fast', acks: semiSync(['b']) }],
    ['no-loss without members', { ...LEADER, profile: 'no-loss' }],
    ['no-loss of nobody', { ...LEADER, profile: 'no-loss', members: [] }],
    ['no-loss of itself', { ...LEADER, profile: 'no-loss', members: ['a', 'b'] }],
    ['balanced without members', { ...LEADER, profile: 'balanced' }],
    ['fast with members', { ...LEADER, profile: 'fast', members: ['b'] }],
    ['a follower with a profile', { ...FOLLOWER, profile: 'fast' }],
    [
      'no-loss of writes of another program',
      { ...LEADER, format: PAGES, sidecar: process.execPath, profile: 'no-loss', members: ['b'] },
    ],
    ['no format', { ...LEADER, format: undefined }],
    ['no transport', { ...LEADER, transport: undefined }],
    ['an address of another transport', { ...LEADER, listen: 'tcp://127.0.0.1:0' }, 'ADDRESS_INVALID'],
    ['an address that is none', { ...FOLLOWER, leader: '127.0.0.1' }, 'ADDRESS_INVALID'],
    ['no readers', { ...LEADER, readers: 0 }],
    ['half a segment byte', { ...LEADER, segmentBytes: 0.5 }],
    ['no checkpoint bytes', { ...LEADER, checkpointBytes: Number.NaN }],
    ['a negative rate', { ...LEADER, snapshotBytesPerSecondMax: -1 }],
    ['a pipeline limit of zero', { ...LEADER, pipeline: { groupMsMax: 0 } }],
    ['a link limit of text', { ...LEADER, link: { heartbeatMs: '5' } }],
  ]
  for (const [name, options, code = 'INVALID_ARGUMENT'] of bad) {
    test(name, async () => {
      const directory = join(temporaryFolder(), 'node')
      await expect(createNode({ ...options, directory } as unknown as NodeOptions)).rejects.toMatchObject({
        code,
        message: expect.stringMatching(/Nothing was started\.$/) as string,
      })
      expect(existsSync(directory)).toBe(false)
    })
  }

  test('no directory', async () => {
    await expect(createNode({ ...LEADER, directory: '' })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})

test('a listener that throws is warned of and harms nothing', () => {
  const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  const { emit } = resolveOptions({
    ...LEADER,
    onEvent: () => {
      throw new Error('a bug of the user')
    },
  })
  emit({ kind: 'listening', address: 'memory://a' })
  expect(warned.mock.calls[0]?.[0]).toMatchObject({ message: 'a bug of the user' })
  warned.mockRestore()
})

test('a member of a cluster has a profile in any role: it may lead at any time', () => {
  const { leader: _, ...follower } = FOLLOWER
  const { acks } = resolveOptions(
    { ...follower, profile: 'no-loss', members: ['b', 'c'] },
    { isMember: true },
  )
  expect(acks).toMatchObject({ level: 'durable', of: { kind: 'any', count: 1, names: ['b', 'c'] } })
})
