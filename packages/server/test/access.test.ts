/** Each request with each role alone: exactly one opens it. */
import { ROLES, type Leadership, type RequestBody, type Role } from '@understudy/protocol'
import { describe, expect, test } from 'vitest'
import type { WriteRequest } from '../src/index.ts'
import { startSession } from './harness.ts'

const AT = { epoch: 1, lsn: 1 }
const STATEMENT = { sql: 'select 1', parameters: [] }
const RECEIPT = { cluster: 'c', position: AT, crc: 1 }
const RESULT = { columns: ['secret'], rows: [['row']], changes: 1 }

const REQUESTS: readonly (readonly [RequestBody, readonly Role[]])[] = [
  [{ kind: 'status' }, ROLES],
  [{ kind: 'read', statement: STATEMENT, timeoutMs: 1 }, ['read']],
  [{ kind: 'digest', at: AT, timeoutMs: 1 }, ['read']],
  [{ kind: 'rows', at: AT, table: 't', offset: 0 }, ['read']],
  [{ kind: 'release', at: AT }, ['read']],
  [{ kind: 'write', statements: [STATEMENT] }, ['write']],
  [{ kind: 'whoLeads', waitMs: 0 }, ROLES],
  [{ kind: 'verdict', receipt: RECEIPT }, ROLES],
  [{ kind: 'reach', receipt: RECEIPT, level: 'durable', count: 1, timeoutMs: 1 }, ['write']],
  [{ kind: 'prepare', prepared: 1, sql: 'select 1' }, ['read', 'write']],
  [{ kind: 'begin', transaction: 1, readOnly: false, timeoutMs: 1, waitMs: 1 }, ['write']],
  [{ kind: 'begin', transaction: 1, readOnly: true, timeoutMs: 1, waitMs: 1 }, ['read']],
  [
    {
      kind: 'open',
      stream: 1,
      statement: STATEMENT,
      waitMs: 1,
      timeoutMs: 1,
      rowsMax: 1,
      bytesMax: 1,
    },
    ['read'],
  ],
  [{ kind: 'mark' }, ['admin']],
  [{ kind: 'slots' }, ['admin']],
  [{ kind: 'exposure', timeoutMs: 1 }, ['admin']],
  [{ kind: 'dropSlot', name: 'b' }, ['admin']],
  [{ kind: 'forget', name: 'b' }, ['admin']],
  [{ kind: 'switchFormat', format: 'row' }, ['admin']],
  [{ kind: 'setAcks', rule: 'async', acceptLoss: false }, ['admin']],
  [{ kind: 'promote', acceptLoss: false, timeoutMs: 1 }, ['admin']],
  [{ kind: 'switchover', timeoutMs: 1 }, ['admin']],
  [{ kind: 'pauseFailover', paused: true }, ['admin']],
  [{ kind: 'decisions', limit: 1 }, ['admin']],
]

const LEADERSHIP: Leadership = {
  node: 'a',
  cluster: 'c',
  role: 'leader',
  takesWrites: true,
  forwardsWrites: false,
  applied: { ...AT, crc: 1 },
  members: [],
}

const everything = {
  whoLeads: () => LEADERSHIP,
  status: () => ({}),
  read: () => ({ result: RESULT, position: AT }),
  digest: () => ({ position: AT, tables: [] }),
  rows: () => ({ key: [], columns: [], rows: [] }),
  release: () => undefined,
  write: () => ({ results: [RESULT], position: AT }),
  describe: () => ({ columns: [], parameters: 0, readOnly: true }),
  openRead: async () => ({
    position: AT,
    run: () => RESULT,
    cursor: () => ({ next: () => ({ ...RESULT, isLast: true }), close: () => undefined }),
    close: () => undefined,
  }),
  openWrite: async () => ({
    position: AT,
    run: () => RESULT,
    commit: async () => ({ results: [], position: AT }),
    rollback: async () => undefined,
  }),
  verdict: () => ({ verdict: 'committed', reason: 'it is' }) as const,
  reach: () => ({ level: 'durable', members: [] }),
  mark: () => AT,
  slots: () => [],
  exposure: () => ({ knownFrom: 1, upTo: AT, ranges: [], forgotten: 0 }),
  dropSlot: () => undefined,
  forget: () => undefined,
  switchFormat: () => AT,
  setAcks: () => AT,
  promote: () => ({}),
  switchover: () => ({}),
  pauseFailover: () => undefined,
  decisions: () => [],
}

const isOpen = (kind: string): boolean => ['status', 'verdict', 'whoLeads'].includes(kind)

describe.each(REQUESTS.map(([body, roles]) => ({ kind: body.kind, body, roles })))(
  '$kind',
  ({ body, roles }) => {
    test.each(ROLES)('asked with the role %s alone', async (role) => {
      const peer = await startSession({
        handlers: roles.includes(role) ? everything : {},
        roles: new Set([role]),
      })
      peer.ask(1, body)
      const answer = await peer.response(1)
      if (roles.includes(role)) expect(answer.kind).not.toBe('error')
      else expect(answer).toMatchObject({ kind: 'error', code: 'FORBIDDEN' })
      // The connection goes on: another request is answered.
      peer.ask(2, { kind: 'dropSlot', name: 'x' })
      expect((await peer.response(2)).kind).toBe(role === 'admin' && roles.includes(role) ? 'json' : 'error')
    })

    test('asked without any role', async () => {
      const peer = await startSession({
        handlers: isOpen(body.kind) ? everything : {},
        roles: new Set(),
      })
      peer.ask(1, body)
      expect((await peer.response(1)).kind === 'error').toBe(!isOpen(body.kind))
    })
  },
)

test('a writer that may not read learns how many rows changed, and none of them', async () => {
  const write = { kind: 'write', statements: [STATEMENT] } as const
  const writer = await startSession({ handlers: everything, roles: new Set<Role>(['write']) })
  writer.ask(1, write)
  expect(await writer.response(1)).toEqual({
    kind: 'results',
    results: [{ columns: [], rows: [], changes: 1 }],
    position: AT,
  })
  const both = await startSession({ handlers: everything, roles: new Set<Role>(['write', 'read']) })
  both.ask(1, write)
  expect(await both.response(1)).toMatchObject({ results: [RESULT] })
})

test('only a node may say for whom it sends a write on', async () => {
  const forwarded = { by: 'b', author: 'shop' }
  const write = { kind: 'write', statements: [STATEMENT], forwarded } as const
  const seen: unknown[] = []
  const handlers = {
    write: (_: unknown, request: WriteRequest) => {
      seen.push([request.author, request.forwarded])
      return { results: [], position: AT }
    },
  }
  const client = await startSession({ handlers, roles: new Set<Role>(['write']), author: 'shop' })
  client.ask(1, write)
  expect(await client.response(1)).toMatchObject({ code: 'FORBIDDEN' })
  client.ask(2, { kind: 'write', statements: [STATEMENT] })
  expect(await client.response(2)).toMatchObject({ kind: 'results' })
  const node = await startSession({ handlers, roles: new Set<Role>(['write', 'replicate']), author: 'b' })
  node.ask(1, write)
  expect(await node.response(1)).toMatchObject({ kind: 'results' })
  // A node that may not write sends nothing on either.
  const reader = await startSession({ handlers: {}, roles: new Set<Role>(['replicate']) })
  reader.ask(1, write)
  expect(await reader.response(1)).toMatchObject({ code: 'FORBIDDEN' })
  expect(seen).toEqual([
    ['shop', undefined],
    ['b', forwarded],
  ])
})
