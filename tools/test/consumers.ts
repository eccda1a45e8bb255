/**
 * One small program for each public package, as a stranger would write it. Each is typechecked and run against the
 * packed packages; it fails by throwing. A package without a program fails the test.
 */
export const CONSUMERS: Readonly<Record<string, string>> = {
  '@understudy/contracts': `
import { comparePositions, formatPosition, isUnderstudyError, parsePosition, UnderstudyError, type ErrorCode, type Transport } from '@understudy/contracts'
import assert from 'node:assert/strict'
const position = parsePosition('3/1042')
assert(position !== undefined && formatPosition(position) === '3/1042' && comparePositions(position, { epoch: 3, lsn: 7 }) > 0)
const code: ErrorCode = 'NOT_LEADER'
assert(isUnderstudyError(new UnderstudyError(code, 'x'), 'NOT_LEADER'))
const schemes = (transport: Transport): readonly string[] => transport.schemes
void schemes
`,
  '@understudy/protocol': `
import { decodeMessage, encodeMessage, LIMITS, type Message } from '@understudy/protocol'
import assert from 'node:assert/strict'
const message: Message = { type: 'request', id: 7, body: { kind: 'dropSlot', name: 'b' } }
assert.deepEqual(decodeMessage(Buffer.concat(encodeMessage(message))), message)
assert(LIMITS.frameBytesMax > 0)
`,
  '@understudy/changeset': `
import { decodeChangeset, type Change } from '@understudy/changeset'
import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
const database = new DatabaseSync(':memory:')
database.exec('create table t (id integer primary key, v text)')
const session = database.createSession()
database.exec("insert into t values (1, 'a')")
const changes: Change[] = [...decodeChangeset(session.changeset())]
assert.equal(changes.length, 1)
assert.equal(changes[0]?.table, 't')
`,
  '@understudy/client': `
import { connect, verifyCluster, type Client, type VerifyReport } from '@understudy/client'
import type { Transport } from '@understudy/contracts'
import assert from 'node:assert/strict'
const transport: Transport = { schemes: [], connect: () => Promise.reject(new Error('nobody')), listen: () => Promise.reject(new Error('no')) }
await assert.rejects(connect({ transport, address: 'x://y' }), /nobody/)
const verify = (leader: Client): Promise<VerifyReport> => verifyCluster({ leader, nodes: [] })
void verify
`,
}
