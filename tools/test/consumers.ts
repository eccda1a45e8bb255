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
  '@understudy/format-statement': `
import { statementFormat } from '@understudy/format-statement'
import type { LogFormat, SqliteConnection } from '@understudy/contracts'
import assert from 'node:assert/strict'
const format: LogFormat<SqliteConnection> = statementFormat({ unsafe: 'allow' })
assert(format.id === 2 && format.name === 'statement')
`,
  '@understudy/format-wal': `
import { walFormat } from '@understudy/format-wal'
import type { LogFormat, SqliteConnection } from '@understudy/contracts'
import assert from 'node:assert/strict'
const format: LogFormat<SqliteConnection> = walFormat({ compress: 'none' })
assert(format.id === 3 && format.physical === true)
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
import { connect, verifyCluster, type Client, type ClusterClient, type VerifyReport } from '@understudy/client'
import type { Transport } from '@understudy/contracts'
import assert from 'node:assert/strict'
const transport: Transport = { schemes: [], connect: () => Promise.reject(new Error('nobody')), listen: () => Promise.reject(new Error('no')) }
await assert.rejects(connect({ transport, address: 'x://y' }), /nobody/)
const cluster: Promise<ClusterClient> = connect(['x://y', 'x://z'], { transports: [{ ...transport, schemes: ['x'] }] })
await assert.rejects(cluster, /nobody/)
const verify = (leader: Client): Promise<VerifyReport> => verifyCluster({ leader, nodes: [] })
void verify
`,
  '@understudy/server': `
import { DEFAULT_LIMITS, serveClient, type ClientHandlers, type ServerLimits } from '@understudy/server'
import assert from 'node:assert/strict'
const limits: ServerLimits = DEFAULT_LIMITS
assert(limits.rowsMax > 0 && typeof serveClient === 'function')
const status: ClientHandlers['status'] = () => ({ role: 'leader' })
void status
`,
  '@understudy/coordination': `
import { coordinatorOn, decodeState, encodeState, keepLeases, processClock, type LeaseKeeper } from '@understudy/coordination'
import type { CoordinatorStore, PublishedState } from '@understudy/contracts'
import assert from 'node:assert/strict'
const state: PublishedState = { cluster: 'c', epoch: 1, runId: 'r', acks: { rule: { level: 'local' } }, ceilings: new Map([['note', 9n]]), paused: false }
assert.deepEqual(decodeState(encodeState({ state, token: 't' })).state, state)
assert(processClock().monotonic() > 0 && typeof coordinatorOn === 'function')
const keep: (options: Parameters<typeof keepLeases>[0]) => Promise<LeaseKeeper> = keepLeases
const kind = (store: CoordinatorStore): string => store.kind
void [keep, kind]
`,
  '@understudy/coordinator-sqlite': `
import { keepLeases } from '@understudy/coordination'
import { sqliteCoordinator } from '@understudy/coordinator-sqlite'
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
const folder = mkdtempSync(join(tmpdir(), 'consumer-'))
const coordinator = await sqliteCoordinator({ path: join(folder, 'coordinator.db') })
// On a thread of the packages: both files have to be where the packed code looks for them.
const keeper = await keepLeases({ coordinator, ttlMs: 5000 })
const lease = await keeper.acquire({ holder: 'a', epoch: 1 })
assert(lease.isValid())
assert.equal((await coordinator.observe()).lease?.holder, 'a')
await lease.release()
assert(!lease.isValid())
await keeper.close()
await coordinator.close()
rmSync(folder, { recursive: true })
`,
  '@understudy/monitor': `
import { readinessOf, startMonitor, type Monitor } from '@understudy/monitor'
import assert from 'node:assert/strict'
const monitor: Monitor = await startMonitor({ listen: 'http://127.0.0.1:0' })
const health = await fetch(monitor.address + '/health')
assert.deepEqual([health.status, await health.json()], [200, { healthy: true, state: 'starting', reasons: [], warnings: [] }])
assert.equal((await fetch(monitor.address + '/ready')).status, 503)
const text = await (await fetch(monitor.address + '/metrics')).text()
assert(text.includes('# TYPE understudy_commit_duration_seconds histogram'))
assert.equal(readinessOf(undefined, { for: 'reads', stalenessMsMax: 1, waitMsMax: 1 }).ready, false)
await monitor.close()
`,
  '@understudy/coordinator-etcd': `
import { etcdCoordinator, type EtcdCoordinatorOptions } from '@understudy/coordinator-etcd'
import type { Coordinator } from '@understudy/contracts'
import assert from 'node:assert/strict'
const options: EtcdCoordinatorOptions = { endpoints: ['http://127.0.0.1:1'], cluster: 'demo' }
const coordinator: Coordinator = etcdCoordinator(options)
await assert.rejects(coordinator.observe({ timeoutMs: 100 }), { code: 'COORDINATOR_UNAVAILABLE' })
await coordinator.close()
assert.throws(() => etcdCoordinator({ ...options, endpoints: ['http://etcd.example:2379'] }), { code: 'INSECURE_ADDRESS' })
`,
  '@understudy/testkit': `
import { SeededRandom, SimulatedClock } from '@understudy/testkit'
import assert from 'node:assert/strict'
const clock = new SimulatedClock()
let ran = false
clock.schedule(3_600_000, () => void (ran = true))
await clock.advance(3_600_000)
assert(ran)
assert.equal(new SeededRandom(7).uint32(), new SeededRandom(7).uint32())
`,
  '@understudy/sqlite-files': `
import { readDatabaseHeader, type DatabaseHeader } from '@understudy/sqlite-files'
import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
const folder = mkdtempSync(join(tmpdir(), 'consumer-'))
const database = new DatabaseSync(join(folder, 'a.db'))
database.exec('pragma page_size = 8192; create table t (x)')
database.close()
const header: DatabaseHeader = readDatabaseHeader(readFileSync(join(folder, 'a.db')))
assert(Object.values(header).includes(8192))
rmSync(folder, { recursive: true })
`,
  '@understudy/log': `
import { openLog } from '@understudy/log'
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
const folder = mkdtempSync(join(tmpdir(), 'consumer-'))
const log = openLog({ directory: join(folder, 'log') })
log.startEpoch({ runId: '0123456789abcdef', leader: 'a', committedAtMs: Date.now() })
log.append([{ format: 32768, flags: 0, committedAtMs: Date.now(), payload: Buffer.from('hello') }])
await log.sync()
assert.deepEqual([...log.records(2)].map((record) => Buffer.from(record.payload).toString()), ['hello'])
await log.close()
rmSync(folder, { recursive: true })
`,
  '@understudy/sqlite': `
import { digestTables, openStorage } from '@understudy/sqlite'
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
const folder = mkdtempSync(join(tmpdir(), 'consumer-'))
const storage = openStorage({ path: join(folder, 'a.db') })
storage.begin()
storage.connection.internal(() => storage.connection.database.exec('create table t (id integer primary key)'))
storage.mark({ epoch: 1, lsn: 1, crc: 7 })
storage.commit()
// On a worker of the package: its file has to be where the packed code looks for it.
const durable = await storage.checkpoint()
assert.deepEqual(durable, { epoch: 1, lsn: 1, crc: 7 })
assert.equal(typeof digestTables, 'function')
await storage.close()
rmSync(folder, { recursive: true })
`,
  '@understudy/format-row': `
import type { LogFormat, SqliteConnection } from '@understudy/contracts'
import { rowFormat } from '@understudy/format-row'
import assert from 'node:assert/strict'
const format: LogFormat<SqliteConnection> = rowFormat()
assert.equal(format.id, 1)
assert.equal(format.name, 'row')
`,
  '@understudy/failover': `
import { decideAndRecord, explain, FailureDetector, Voter, type Observations } from '@understudy/failover'
import { classify, exportLostTail, listLostTails, readLostTail, statementsFor, type LostTail } from '@understudy/failover'
import { nodeFiles, openLog } from '@understudy/log'
import { systemClock, systemRandom, ORIGIN } from '@understudy/contracts'
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
const folder = mkdtempSync(join(tmpdir(), 'understudy-failover-'))
const files = nodeFiles()
const log = openLog({ directory: join(folder, 'log'), files, clock: systemClock(), random: systemRandom() })
log.startEpoch({ runId: '0123456789abcdef', leader: 'a', committedAtMs: 0 })
log.append([{ format: 9, flags: 0, committedAtMs: 0, payload: Buffer.from('what') }])
log.syncNow()
const directory = join(folder, 'lost-tail')
exportLostTail({ files, directory, log, cluster: 'c', node: 'a', common: ORIGIN, end: log.end, nowMs: 0 })
const [file] = listLostTails(files, directory)
assert(file)
const tail: LostTail = readLostTail(files, file.path, [])
assert.equal(tail.transactions.length, 1)
const compared = await classify(tail, () => Promise.resolve([]))
assert.deepEqual(statementsFor(compared), [])
await log.close()
rmSync(folder, { recursive: true })
const detector = new FailureDetector({ intervalMs: 100 })
detector.heartbeat('a', 0)
assert.equal(detector.suspicion('a', 50).state, 'alive')
const voter = new Voter({ startedAtMs: 0, grantMsMax: 0 })
assert.equal(voter.ask({ epoch: 1, runId: 'r', candidate: 'b', isPlanned: false }, 0, false).kind, 'persist')
const observations: Observations = {
  nowMs: 0, self: 'b', leader: 'a', verdict: { verdict: 'dead', silentMs: 900, reasons: [] }, members: [],
  coordinator: { kind: 'manual' }, intent: { kind: 'promote', acceptLoss: false },
  policy: { mode: 'act', paused: false, allowAsyncFailover: false, turnMs: 1000, restMs: 0 },
}
const { decision, line } = decideAndRecord(observations, 0)
assert.equal(decision.action.kind, 'refuse')
assert(explain(line).isSame)
`,
  '@understudy/sockets': `
import { Admission, certificates, isLoopback, parseAddress, type TlsOptions } from '@understudy/sockets'
import { systemClock } from '@understudy/contracts'
import assert from 'node:assert/strict'
assert.equal(parseAddress('quic://[::1]:7401', { schemes: ['quic'] }).port, 7401)
assert(isLoopback('::ffff:127.0.0.1') && !isLoopback('0.0.0.0'))
const release = new Admission({ channelsMax: 1 }).admit('10.0.0.1')
assert(release !== undefined)
const tls: TlsOptions = { ca: { file: '/nowhere/ca.pem' } }
assert.throws(() => certificates(tls, { clock: systemClock() }), { code: 'TLS_FAILED' })
`,
  '@understudy/credentials': `
import { addGrant, makeCredential, readCredential, readGrants, writeCredential } from '@understudy/credentials'
import type { Grants } from '@understudy/protocol'
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
const folder = mkdtempSync(join(tmpdir(), 'understudy-credentials-'))
const { credential, entry } = makeCredential({ name: 'b', roles: ['replicate', 'snapshot'] })
writeCredential(join(folder, 'b.json'), credential)
addGrant(join(folder, 'all.json'), entry)
const list: Grants = readGrants(join(folder, 'all.json'))
assert.deepEqual(list.find('b')?.roles, ['replicate', 'snapshot'])
assert.deepEqual(readCredential(join(folder, 'b.json')), credential)
rmSync(folder, { recursive: true })
`,
  '@understudy/transport-tcp': `
import type { Transport } from '@understudy/contracts'
import { tcp } from '@understudy/transport-tcp'
import assert from 'node:assert/strict'
const transport: Transport = tcp()
const listener = await transport.listen('tcp://127.0.0.1:0', (channel) => {
  channel.start({ frame: (bytes) => void channel.send([bytes]), drained: () => {}, closed: () => {} })
})
const channel = await transport.connect(listener.address)
const echo = await new Promise<Uint8Array>((resolve) => {
  channel.start({ frame: resolve, drained: () => {}, closed: () => {} })
  channel.send([Buffer.from('hel'), Buffer.from('lo')])
})
assert.equal(Buffer.from(echo).toString(), 'hello')
channel.close()
await listener.close()
`,
  '@understudy/transport-ws': `
import type { Transport } from '@understudy/contracts'
import { webSocket } from '@understudy/transport-ws'
import assert from 'node:assert/strict'
const transport: Transport = webSocket()
const listener = await transport.listen('ws://127.0.0.1:0/replication', (channel) => {
  channel.start({ frame: (bytes) => void channel.send([bytes]), drained: () => {}, closed: () => {} })
})
const channel = await transport.connect(listener.address)
const echo = await new Promise<Uint8Array>((resolve) => {
  channel.start({ frame: resolve, drained: () => {}, closed: () => {} })
  channel.send([Buffer.from('hel'), Buffer.from('lo')])
})
assert.equal(Buffer.from(echo).toString(), 'hello')
channel.close()
await listener.close()
`,
  '@understudy/replication': `
import { draftParts, type Statement } from '@understudy/replication'
import assert from 'node:assert/strict'
assert.equal(draftParts(new Uint8Array(10), 1, 0, 4).length, 3)
const statement: Statement = { sql: 'insert into t values (?)', params: [1], expect: 1 }
void statement
`,
  '@understudy/bootstrap': `
import { assertReplaceable } from '@understudy/bootstrap'
import { isUnderstudyError } from '@understudy/contracts'
import assert from 'node:assert/strict'
const state = { directory: 'data/a', node: 'a', history: [] }
assertReplaceable({ ...state, led: false })
assert.throws(() => assertReplaceable({ ...state, led: true }), (error) => isUnderstudyError(error, 'DIRECTORY_OF_LEADER'))
`,
  '@understudy/node': `
import { rowFormat } from '@understudy/format-row'
import { createNode } from '@understudy/node'
import { tcp } from '@understudy/transport-tcp'
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
const folder = mkdtempSync(join(tmpdir(), 'consumer-'))
const leader = await createNode({
  name: 'a',
  directory: join(folder, 'a'),
  role: 'leader',
  format: rowFormat(),
  transport: tcp(),
  listen: 'tcp://127.0.0.1:0',
})
await leader.write((tx) => tx.exec('create table note (id integer primary key autoincrement, body text)'))
const { receipt } = await leader.write((tx) => tx.run('insert into note (body) values (?)', ['hello']))
const rows = await leader.read((db) => db.all('select body from note'), { after: receipt.position, timeoutMs: 1000 })
assert.deepEqual(rows.map((row) => row['body']), ['hello'])
await leader.close()
rmSync(folder, { recursive: true })
`,
  '@understudy/bench': `
import { runMatrix, rowsOf } from '@understudy/bench'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
const help = execFileSync('node_modules/.bin/understudy-bench', ['--help'], { encoding: 'utf8' })
for (const command of ['report', 'compare', 'core', 'acks']) assert(help.includes(command), command)
const nobody = { begin() {}, step() {}, note() {}, end() {} }
const results = await runMatrix(nobody, { format: ['row'], transport: ['tcp'], ack: ['async'], writers: [2], workload: ['inserts'], rounds: 1, seconds: 0.1, followers: 1 })
assert.equal(rowsOf(results).length, 3)
`,
  '@understudy/cli': `
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
const help = execFileSync('node_modules/.bin/understudy', ['--help'], { encoding: 'utf8' })
for (const command of ['start', 'status', 'sql', 'verify', 'log']) assert(help.includes(command), command)
`,
}
