/** What an error of each code means for a call that may be made again. */
import { ERROR_CODES, UnderstudyError, type ErrorCode } from '@understudy/contracts'
import { describe, expect, test } from 'vitest'
import { isHopeless, outcomeOfCommand, outcomeOfRead, outcomeOfWrite } from '../src/outcomes.ts'

const peer = (code: ErrorCode) => new UnderstudyError(code, 'by the node', { fromPeer: true })
const own = (code: ErrorCode) => new UnderstudyError(code, 'by this client')

/** Everything else is the answer: nothing that is added to the codes is sent again before somebody says so. */
const WRITES: Readonly<Partial<Record<ErrorCode, string>>> = {
  NOT_LEADER: 'elsewhere',
  EPOCH_STALE: 'elsewhere',
  EPOCH_FORK: 'elsewhere',
  CONNECTION_LOST: 'elsewhere',
  CONNECT_FAILED: 'elsewhere',
  PEER_SILENT: 'elsewhere',
  CLOSED: 'elsewhere',
  TIMEOUT: 'elsewhere',
  NOT_WRITTEN: 'later',
  OVERLOADED: 'later',
  OUTCOME_UNKNOWN: 'doubt',
  STORAGE_FAILED: 'trouble',
  DISK_FULL: 'trouble',
  READ_ONLY_DISK: 'trouble',
  LOG_FAILED: 'trouble',
  LOG_CORRUPT: 'trouble',
  LEASE_LOST: 'trouble',
  COORDINATOR_UNAVAILABLE: 'trouble',
}

describe('a write', () => {
  test.each(Object.keys(ERROR_CODES) as ErrorCode[])('%s of the node', (code) => {
    expect(outcomeOfWrite(peer(code))).toBe(WRITES[code] ?? 'answer')
  })

  test('that a replaced leader answered may be done there, and lost', () => {
    expect(outcomeOfWrite(own('EPOCH_STALE'))).toBe('doubt')
    expect(outcomeOfWrite(own('EPOCH_FORK'))).toBe('doubt')
  })

  test.each([
    'SQL_FAILED',
    'EXPECTATION_FAILED',
    'KEY_REUSED',
    'FORBIDDEN',
    'WRITTEN_NOT_ACKED',
    'ABORTED',
  ] as const)('%s is never tried again', (code) => expect(outcomeOfWrite(peer(code))).toBe('answer'))

  test('that fails with what is no error of ours is not tried again', () => {
    expect(outcomeOfWrite(new TypeError('x'))).toBe('answer')
  })
})

test.each([
  'SQL_FAILED',
  'POSITION_LOST',
  'WRITE_FORBIDDEN',
  'RESULT_TOO_LARGE',
  'FORBIDDEN',
  'ABORTED',
] as const)('a read that is %s is answered', (code) => expect(outcomeOfRead(peer(code))).toBe('answer'))

test.each([
  'TOO_STALE',
  'TIMEOUT',
  'EPOCH_STALE',
  'DIVERGED',
  'CONNECTION_LOST',
  'CLOSED',
  'LOG_FAILED',
] as const)('a read that is %s is tried elsewhere', (code) =>
  expect(outcomeOfRead(peer(code))).toBe('elsewhere'),
)

test('a command that may be done is never given twice', () => {
  expect(outcomeOfCommand(peer('NOT_LEADER'))).toBe('elsewhere')
  expect(outcomeOfCommand(peer('EPOCH_STALE'))).toBe('elsewhere')
  for (const error of [own('EPOCH_STALE'), own('CONNECTION_LOST'), peer('OVERLOADED'), new Error('x')])
    expect(outcomeOfCommand(error)).toBe('answer')
})

test('a client that nobody lets in need not wait', () => {
  for (const code of ['AUTHENTICATION_FAILED', 'FOREIGN_CLUSTER', 'TLS_FAILED', 'PROTOCOL_VERSION'] as const)
    expect(isHopeless(own(code))).toBe(true)
  for (const code of ['CONNECT_FAILED', 'PEER_SILENT', 'TIMEOUT'] as const)
    expect(isHopeless(own(code))).toBe(false)
})
