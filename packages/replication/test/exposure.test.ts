/** What a log says of commits that had less protection than was asked for: over real pipelines, on simulated time. */
import {
  CONTROL_ACKS,
  CONTROL_ACKS_LOWERED,
  FLAG_AWAITS_ACKS,
  FLAG_UNMET,
  FORMAT_CONTROL,
  type Exposure,
  type ExposureOptions,
  type Log,
  type LogRecord,
  type Lsn,
} from '@understudy/contracts'
import { describe, expect, test } from 'vitest'
import {
  EXPOSED_RANGES_MAX,
  ExposureLedger,
  any,
  reportExposure,
  semiSync,
  type AckPolicy,
  type WriteOptions,
} from '../src/index.ts'
import { beginExposure, takeRecord } from '../src/exposure.ts'
import { testPipeline, type TestPipeline } from './support/pipeline.ts'
import { World, emptyDisk } from './support/world.ts'

const POLICY: AckPolicy = semiSync(['b', 'c'], {
  ackTimeoutMs: 1000,
  settleMs: 200,
  lagMsMax: 100,
  onUnmet: 'degrade',
})
const NOBODY = { durable: (): undefined => undefined, acked: 0 }
const RULE = 'durable FIRST 1 (b, c)'

const ledgerOf = (log: Log): ExposureLedger => new ExposureLedger(log, (run) => run())

async function exposureOf(log: Log, options?: ExposureOptions): Promise<Exposure> {
  return reportExposure(await ledgerOf(log).read(), NOBODY, options)
}

/** Ranges in one line each. */
function lines({ ranges }: Exposure): string[] {
  return ranges.map(
    ({ why, from, to, isOpen, commits, asked, waited, covered }) =>
      `${why} ${from.epoch}/${from.lsn}-${to.epoch}/${to.lsn}${isOpen ? '…' : ''} ${commits} of ${asked}` +
      (waited === undefined ? '' : ` waited ${waited.from}-${waited.to}`) +
      (covered === undefined ? '' : ` covered ${covered.position.lsn} by ${covered.rule}`),
  )
}

interface Acked extends TestPipeline {
  readonly says: (name: string, lsn: Lsn) => void
  readonly put: (key: string, options?: WriteOptions) => Promise<Lsn>
}

function acked(acks: AckPolicy, more: Parameters<typeof testPipeline>[0] = {}): Acked {
  const made = testPipeline({ node: 'a', acks, ...more })
  const { clock, pipeline } = made
  return {
    ...made,
    says: (name, lsn) =>
      pipeline.follower(name, { streams: true, received: lsn, durable: lsn, applied: lsn, unackedBytes: 0 }),
    put: async (key, options) => {
      const { receipt } = await clock.complete(pipeline.write((tx) => tx.set(key, '1'), options))
      return receipt.position.lsn
    },
  }
}

describe('a rule that is lowered and raised again', () => {
  test('lists exactly what was committed meanwhile, the group that waited told apart', async () => {
    const { clock, log, pipeline, put, says } = acked(POLICY, { limits: { recordBytesMax: 10 } })
    const strict = pipeline.write((tx) => tx.set('strict', '1'))
    await clock.advance(10)
    says('b', log.end.lsn)
    await clock.complete(strict)
    pipeline.follower('b', undefined)
    const waited = await put('waits until the rule is lowered')
    const lowered = waited + 1
    expect(log.end.lsn).toBe(lowered)
    await put('long enough for many records')
    const last = await put('2')
    expect(lines(await exposureOf(log))).toEqual([
      expect.stringMatching(
        `^lowered 1/\\d+-1/${last}… 3 of durable FIRST 1 \\(b, c\\) waited \\d+-${waited}$`,
      ),
    ])
    says('c', last)
    await clock.advance(201)
    const raised = log.end.lsn
    expect(raised).toBe(last + 1)
    // The record alone proves nothing: the set may never get it.
    expect(lines(await exposureOf(log))).toEqual([expect.stringMatching(/waited \d+-\d+$/)])
    says('c', raised)
    const again = pipeline.write((tx) => tx.set('strict again', '1'))
    await clock.advance(10)
    says('c', log.end.lsn)
    await clock.complete(again)
    const { ranges, knownFrom, upTo } = await exposureOf(log)
    expect([knownFrom, upTo]).toEqual([1, { epoch: 1, lsn: log.end.lsn }])
    expect(ranges).toHaveLength(1)
    const [range] = ranges
    expect(range).toMatchObject({
      why: 'lowered',
      isOpen: false,
      commits: 3,
      asked: RULE,
      effective: 'local',
      state: 'covered',
      covered: { position: { epoch: 1, lsn: raised }, rule: RULE },
      to: { epoch: 1, lsn: last },
      waited: { to: waited },
    })
    expect((range?.endedAtMs ?? 0) - (range?.beganAtMs ?? 0)).toBeGreaterThanOrEqual(1000)
  })

  test('with the log alone it is not known who has it; with the members it is', async () => {
    const { log, put } = acked(POLICY)
    const last = await put('1')
    const state = await ledgerOf(log).read()
    const stateWith = (b: Lsn | undefined, c: Lsn | undefined): unknown => {
      const durable = (name: string): Lsn | undefined => (name === 'b' ? b : c)
      const { ranges } = reportExposure(state, { durable, acked: 0 })
      return ranges.map((range) => `${range.state} ${range.holders.join(' ')}`)
    }
    expect(stateWith(undefined, undefined)).toEqual(['unknown '])
    expect(stateWith(0, last - 1)).toEqual(['exposed '])
    expect(stateWith(0, last)).toEqual(['covered c'])
    expect(stateWith(last, undefined)).toEqual(['covered b'])
    expect(stateWith(0, undefined)).toEqual(['unknown '])
  })

  test('a node that shows the record which raises the rule knows that the set has it', async () => {
    const { clock, log, put, says } = acked(POLICY)
    const last = await put('1')
    says('b', last + 1)
    await clock.advance(201)
    const state = await ledgerOf(log).read()
    const at = (acked: Lsn): unknown => reportExposure(state, { ...NOBODY, acked }).ranges[0]?.state
    expect([at(log.end.lsn - 1), at(log.end.lsn)]).toEqual(['unknown', 'covered'])
  })

  test('a set that does not have the record that raises the rule leaves it exposed', async () => {
    const { clock, log, put, says, pipeline } = acked(POLICY)
    const first = await put('1')
    says('b', first + 1)
    await clock.advance(201)
    pipeline.follower('b', undefined)
    const next = await put('2')
    const found = lines(await exposureOf(log))
    expect(found).toEqual([
      `lowered 1/${first}-1/${first} 1 of ${RULE} waited ${first}-${first}`,
      `lowered 1/${next}-1/${next}… 1 of ${RULE}`,
    ])
  })

  test('what was lowered and never written under is not listed', async () => {
    const { clock, log, pipeline } = acked(POLICY)
    await clock.complete(pipeline.mark())
    expect(log.end.lsn).toBe(3)
    expect(lines(await exposureOf(log))).toEqual([])
  })
})

describe('what else is said of the rule', () => {
  test('a lowered rule that is said again, because the log lets go of its record, goes on', async () => {
    const { clock, log, pipeline, put } = acked(POLICY, { acksBefore: { changing: undefined, ruleAt: 2 } })
    log.append([
      { format: FORMAT_CONTROL, flags: 0, committedAtMs: 0, payload: Buffer.from(`\u0004${RULE}`) },
    ])
    log.durable = log.end.lsn
    const first = await put('1')
    pipeline.keepsFrom(Number.MAX_SAFE_INTEGER)
    await clock.advance(10)
    const last = await put('2')
    const said = [...log.records(first + 1)].map(({ payload }) => payload[0])
    expect(said.slice(0, 3)).toEqual([CONTROL_ACKS_LOWERED, CONTROL_ACKS, CONTROL_ACKS_LOWERED])
    const ledger = ledgerOf(log)
    const expected = [`lowered 1/${first}-1/${last}… 2 of ${RULE} waited ${first}-${first}`]
    expect(lines(reportExposure(await ledger.read(), NOBODY))).toEqual(expected)
    // Who has the log from there on alone knows that it is lowered.
    log.collectTo(first + 2)
    expect(lines(await exposureOf(log))).toEqual([`lowered 1/${last}-1/${last}… 1 of ${RULE}`])
  })

  test('a change of the policy ends it, and proves that the set of both rules has it', async () => {
    const { clock, log, pipeline, put, says } = acked(POLICY)
    const last = await put('1')
    for (const name of ['b', 'c', 'd']) says(name, last)
    const change = pipeline.changeAcks(semiSync(['d'], { onUnmet: 'degrade' }))
    await clock.advance(1)
    for (const name of ['b', 'c', 'd']) says(name, log.end.lsn)
    const { lsn } = await clock.complete(change)
    const found = lines(await exposureOf(log))
    expect(found).toEqual([
      expect.stringMatching(
        new RegExp(
          `^lowered .* 1 of .* covered \\d+ by durable FIRST 1 \\(d\\) \\+ durable FIRST 1 \\(b, c\\)$`,
        ),
      ),
    ])
    expect(lsn).toBeGreaterThan(last)
  })
})

describe('what single writes ask for', () => {
  test('less than the cluster is by choice, and listed only where that is asked for', async () => {
    const { log, put, says } = acked(POLICY)
    // The pipeline of this test begins without the record that `becomeLeader` writes.
    log.append([
      { format: FORMAT_CONTROL, flags: 0, committedAtMs: 0, payload: Buffer.from(`\u0004${RULE}`) },
    ])
    log.durable = log.end.lsn
    says('b', 1000)
    await put('1')
    const from = await put('2', { ack: 'local' })
    await put('3')
    const to = await put('4', { ack: 'local' })
    await put('5')
    expect(lines(await exposureOf(log))).toEqual([])
    expect(lines(await exposureOf(log, { byChoice: true }))).toEqual([
      `choice 1/${from}-1/${to}… 2 of ${RULE}`,
    ])
  })

  test('in an asynchronous cluster nothing is exposed but what asked for more in vain', async () => {
    const { log, put } = acked({ level: 'local', onUnmet: 'degrade', ackTimeoutMs: 100 })
    for (const key of ['1', '2']) await put(key)
    expect(lines(await exposureOf(log, { byChoice: true }))).toEqual([])
    const own: WriteOptions = { of: any(1, ['x']) }
    const first = await put('3', own)
    await put('4')
    const last = await put('5', own)
    await put('6')
    expect(lines(await exposureOf(log, { byChoice: true }))).toEqual([
      // The rules of the group that waited are a record of their own, and end it.
      `lowered 1/${first - 1}-1/${last}… 2 of durable ANY 1 (x) waited ${first - 1}-${first}`,
    ])
  })
})

describe('over restarts and on followers', () => {
  test('a leader that dies while the rule is lowered: the new epoch ends the range, and a follower says the same', async () => {
    const world = new World(1)
    const leader = await world.leader('a', emptyDisk(), { acks: POLICY })
    const first = await world.clock.complete(leader.set('1', '1'))
    const last = await world.clock.complete(leader.set('2', '2'))
    leader.clock.stop()
    world.network.crash('a')
    const disk = { log: leader.log.crash(), storage: leader.storage.kill() }
    const next = await world.leader('a', disk, { acks: POLICY })
    const follower = world.follower('b', 'a')
    await world.clock.complete(next.set('3', '3'))
    await world.converge(next, follower)
    const exposure = await exposureOf(next.log)
    expect(lines(exposure)).toEqual([
      `lowered 1/${first.lsn}-1/${last.lsn} 2 of ${RULE} waited ${first.lsn}-${first.lsn}`,
    ])
    expect(await exposureOf(follower.log)).toEqual(exposure)
  })

  test('the end that a former life left counts when it is shown under a lowered rule', async () => {
    const world = new World(2)
    const leader = await world.leader('a', emptyDisk(), { acks: POLICY })
    leader.leadership.pipeline.write((tx) => tx.set('tail', '1')).catch(() => {})
    await world.clock.advance(50)
    const tail = leader.log.end.lsn
    leader.clock.stop()
    world.network.crash('a')
    const disk = { log: leader.log.crash(), storage: leader.storage.kill() }
    const next = await world.leader('a', disk, { acks: POLICY })
    expect(lines(await exposureOf(next.log))).toEqual([])
    const shown = await world.clock.complete(next.set('new', '1'))
    expect(lines(await exposureOf(next.log))).toEqual([
      `lowered 1/${tail}-2/${shown.lsn}… 2 of ${RULE} waited ${tail}-${tail}`,
    ])
  })
})

describe('the log that there is', () => {
  test('what came since the last look is read, and nothing else', async () => {
    const { log, put } = acked(POLICY)
    const ledger = ledgerOf(log)
    await put('1')
    await ledger.read()
    const from = log.end.lsn + 1
    const read: Lsn[] = []
    const records = log.records.bind(log)
    log.records = function* (...range) {
      for (const record of records(...range)) {
        read.push(record.lsn)
        yield record
      }
    }
    await put('2')
    const [one, other] = await Promise.all([ledger.read(), ledger.read()])
    expect(one).toBe(other)
    expect(read).toEqual([from])
  })

  test('what was read before it was collected is remembered; a new ledger says from where on it knows', async () => {
    const { log, put } = acked(POLICY)
    const ledger = ledgerOf(log)
    const first = await put('1')
    await ledger.keepUp()
    log.collectTo(log.end.lsn)
    const last = await put('2')
    const kept = reportExposure(await ledger.read(), NOBODY)
    expect([kept.knownFrom, lines(kept)]).toEqual([
      1,
      [`lowered 1/${first}-1/${last}… 2 of ${RULE} waited ${first}-${first}`],
    ])
    // The record that lowered the rule is the oldest that is left.
    const anew = await exposureOf(log)
    expect([anew.knownFrom, lines(anew)]).toEqual([last - 1, [`lowered 1/${last}-1/${last}… 1 of ${RULE}`]])
  })

  test('a log that was cut and went on otherwise is read anew', async () => {
    const { log, put } = acked(POLICY)
    const ledger = ledgerOf(log)
    const first = await put('1')
    await put('2')
    await ledger.read()
    log.truncateAfter(first - 1)
    log.append([{ format: 1, flags: 0, committedAtMs: 0, payload: Buffer.from('other') }])
    log.append([{ format: 1, flags: 0, committedAtMs: 0, payload: Buffer.from('more') }])
    log.append([{ format: 1, flags: 0, committedAtMs: 0, payload: Buffer.from('and more') }])
    log.durable = log.end.lsn
    expect(lines(reportExposure(await ledger.read(), NOBODY))).toEqual([])
  })

  test('says from where on it knows: a beginning without the record of its rule is unknown', async () => {
    const state = beginExposure(10)
    const at = { epoch: 2, previousCrc: 0, crc: 1, committedAtMs: 0 }
    takeRecord(state, { ...at, lsn: 11, format: 1, flags: FLAG_UNMET, payload: new Uint8Array() })
    expect(reportExposure(state, NOBODY)).toMatchObject({ knownFrom: undefined, ranges: [] })
    takeRecord(state, controlRecord(12, CONTROL_ACKS, RULE))
    expect(reportExposure(state, NOBODY)).toMatchObject({ knownFrom: 12, upTo: { epoch: 2, lsn: 12 } })
  })

  test('remembers so many ranges, and says how many older ones it does not', () => {
    const state = beginExposure(0)
    let lsn = 0
    for (let n = 0; n < EXPOSED_RANGES_MAX + 5; n++) {
      takeRecord(state, controlRecord(++lsn, CONTROL_ACKS_LOWERED, RULE))
      const group = { format: 1, flags: FLAG_UNMET, payload: new Uint8Array() }
      takeRecord(state, { ...controlRecord(++lsn, 0, ''), ...group })
      takeRecord(state, { ...controlRecord(++lsn, CONTROL_ACKS, RULE), flags: FLAG_AWAITS_ACKS })
    }
    const { ranges, forgotten } = reportExposure(state, NOBODY)
    expect([ranges.length, forgotten]).toEqual([EXPOSED_RANGES_MAX, 5])
    expect(ranges[0]?.from.lsn).toBe(5 * 3 + 2)
    const later = { epoch: 2, lsn: lsn - 3 }
    expect(reportExposure(state, NOBODY, { after: later }).ranges).toHaveLength(1)
  })
})

function controlRecord(lsn: Lsn, kind: number, text: string): LogRecord {
  const payload = Buffer.from(`${String.fromCharCode(kind)}${text}`)
  return {
    epoch: 2,
    lsn,
    previousCrc: 0,
    crc: lsn,
    format: FORMAT_CONTROL,
    flags: 0,
    committedAtMs: lsn,
    payload,
  }
}

describe('changes of the rule', () => {
  const STRICT: AckPolicy = { ...POLICY, onUnmet: 'block', of: any(1, ['b']) }
  const OTHER: AckPolicy = { ...STRICT, of: any(1, ['c']) }

  test('commit nothing with less than asked', async () => {
    const { clock, log, pipeline, says } = acked(STRICT)
    says('b', 1)
    says('c', 1)
    const change = pipeline.changeAcks(OTHER)
    await clock.advance(10)
    says('b', 2)
    says('c', 2)
    await clock.complete(change)
    expect(lines(await exposureOf(log, { byChoice: true }))).toEqual([])
  })

  test('that give up the old set: what waited is exposed until the new set has it', async () => {
    const { clock, log, pipeline, says } = acked(STRICT)
    says('c', 1)
    pipeline.write((tx) => tx.set('k', '1'), { ackTimeoutMs: 60_000 }).catch(() => {})
    await clock.advance(10)
    const change = pipeline.changeAcks(OTHER, { acceptLoss: true })
    await clock.advance(10)
    const [range] = (await exposureOf(log)).ranges
    expect(range).toMatchObject({ asked: 'durable ANY 1 (b)', commits: 1, covered: undefined })
    says('c', 5)
    await clock.complete(change)
    const write = pipeline.write((tx) => tx.set('later', '1'))
    await clock.advance(10)
    says('c', 6)
    await clock.complete(write)
    const [covered] = (await exposureOf(log)).ranges
    expect(covered).toMatchObject({ isOpen: false, covered: { rule: 'durable ANY 1 (c)' } })
  })
})
