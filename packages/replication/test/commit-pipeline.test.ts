import { UnderstudyError } from '@understudy/contracts'
import { memoryFormat } from '@understudy/testkit'
import { describe, expect, test } from 'vitest'
import { PartAssembler, type CommitPipeline } from '../src/index.ts'
import { outcomeOf, testPipeline } from './support/pipeline.ts'

describe('a group', () => {
  test('concurrent writes share one append and one sync, and each gets its place in the record', async () => {
    const { clock, log, pipeline, storage } = testPipeline()
    const writes = Array.from({ length: 64 }, (_, i) => pipeline.write((tx) => (tx.set(`k${i}`, `${i}`), i)))
    const results = await clock.complete(Promise.all(writes))
    expect(log.counts).toMatchObject({ append: 1, sync: 1, syncNow: 0 })
    expect(results.map(({ value }) => value)).toEqual(Array.from({ length: 64 }, (_, i) => i))
    expect(results.map(({ receipt }) => receipt.index)).toEqual(Array.from({ length: 64 }, (_, i) => i))
    expect({ ...results[63]?.receipt }).toEqual({
      cluster: 'c',
      position: { epoch: 1, lsn: 2 },
      runId: '0123456789abcdef',
      index: 63,
      crc: log.end.crc,
      asked: 'local',
      reached: 'local',
      members: [],
      degraded: false,
    })
    expect(storage.applied).toEqual(log.end)
    expect(pipeline.highWatermark).toBe(2)
  })

  test('a lone write is synced on the calling thread, one of several is not', async () => {
    const { clock, log, set } = testPipeline()
    await clock.complete(set('a', '1'))
    expect(log.counts).toMatchObject({ sync: 0, syncNow: 1 })
    await clock.complete(Promise.all([set('a', '2'), set('b', '2')]))
    expect(log.counts).toMatchObject({ sync: 1, syncNow: 1 })
  })

  test('a lone write leaves the calling thread to others while the disk is slow', async () => {
    const { clock, log, set } = testPipeline()
    const monotonic = clock.monotonic.bind(clock)
    const syncNow = log.syncNow.bind(log)
    let slowMs = 0
    clock.monotonic = () => monotonic() + slowMs
    log.syncNow = () => {
      slowMs += 20
      syncNow()
    }
    await clock.complete(set('a', '1'))
    await clock.complete(set('a', '2'))
    expect(log.counts).toMatchObject({ sync: 1, syncNow: 1 })
    log.syncNow = syncNow
    for (let fast = 0; fast < 60; fast++) await clock.complete(set('a', `fast ${fast}`))
    expect(log.counts.syncNow).toBeGreaterThan(3)
  })

  test('groups are synced on the calling thread while the disk is fast, and off it when it is slow', async () => {
    const { clock, log, set } = testPipeline({ limits: { syncHereMsMax: 10 } })
    let writes = 0
    const pair = (): Promise<unknown> => Promise.all([set('a', `${writes++}`), set('b', `${writes++}`)])
    await clock.complete(pair())
    expect(log.counts).toMatchObject({ sync: 1, syncNow: 0 })
    await clock.complete(pair())
    expect(log.counts).toMatchObject({ sync: 1, syncNow: 1 })
    const monotonic = clock.monotonic.bind(clock)
    const syncNow = log.syncNow.bind(log)
    let slowMs = 0
    clock.monotonic = () => monotonic() + slowMs
    log.syncNow = () => {
      slowMs += 200
      syncNow()
    }
    await clock.complete(pair())
    expect(log.counts).toMatchObject({ sync: 1, syncNow: 2 })
    await clock.complete(pair())
    expect(log.counts).toMatchObject({ sync: 2, syncNow: 2 })
    log.syncNow = syncNow
    for (let fast = 0; fast < 30; fast++) await clock.complete(pair())
    expect(log.counts.syncNow).toBeGreaterThan(3)
  })

  test('callers that were just answered meet in the next group', async () => {
    const { clock, log, set } = testPipeline()
    const caller = async (name: string): Promise<void> => {
      for (let i = 0; i < 10; i++) await set(name, `${i}`)
    }
    await clock.complete(Promise.all(Array.from({ length: 16 }, (_, i) => caller(`k${i}`))))
    expect(log.counts).toMatchObject({ append: 10, sync: 10 })
  })

  test('nothing is visible or answered before the sync returns, and writes that come meanwhile make the next group', async () => {
    const { clock, log, storage, durable, set } = testPipeline()
    log.syncsAtOnce = false
    const first = Promise.all([set('a', '1'), set('b', '1')])
    await clock.advance(1)
    const second = set('c', '1')
    await clock.advance(100)
    expect(storage.applied.lsn).toBe(1)
    expect(durable).toEqual([])
    expect(log.counts.append).toBe(1)
    log.syncsAtOnce = true
    log.releaseSyncs()
    await clock.complete(first)
    expect(storage.applied.lsn).toBe(2)
    expect(durable.map(({ lsn }) => lsn)).toEqual([2])
    await clock.complete(second)
    expect(storage.applied.lsn).toBe(3)
  })

  test('a group takes no more writes than its limit', async () => {
    const { clock, log, set } = testPipeline({ limits: { groupWritesMax: 10 } })
    await clock.complete(Promise.all(Array.from({ length: 25 }, (_, i) => set(`k${i}`, ''))))
    expect(log.counts.append).toBe(3)
  })

  test('a write that throws rolls back alone and is answered with its own error, when its group is visible', async () => {
    const { clock, log, storage, pipeline, set } = testPipeline()
    log.syncsAtOnce = false
    const mine = new Error('mine')
    const bad = pipeline.write((tx) => {
      tx.set('bad', '1')
      throw mine
    })
    let answered = false
    bad.catch(() => (answered = true))
    const good = set('good', '1')
    await clock.advance(10)
    expect(answered).toBe(false)
    log.releaseSyncs()
    await expect(clock.complete(bad)).rejects.toBe(mine)
    await clock.complete(good)
    expect(storage.connection.committedEntries()).toEqual([['good', '1']])
  })

  test('a lone write that throws leaves nothing behind', async () => {
    const { clock, log, storage, pipeline } = testPipeline()
    const bad = pipeline.write((tx) => {
      tx.set('bad', '1')
      throw new Error('mine')
    })
    expect(await clock.complete(outcomeOf(bad))).toBe('mine')
    expect(storage.connection.committedEntries()).toEqual([])
    expect(log.counts.append).toBe(0)
  })

  test('a lone write whose savepoint was spared takes its changes with it when it throws', async () => {
    const { clock, log, storage, pipeline, set } = testPipeline()
    const write = storage.write.bind(storage)
    storage.write = (body, recorder, options) => {
      if (options?.alone !== true) return write(body, recorder, options)
      recorder.beginWrite()
      try {
        return body(storage.connection as never)
      } catch (error) {
        recorder.abandonWrite()
        throw error
      }
    }
    const bad = pipeline.write((tx) => {
      tx.set('bad', '1')
      throw new Error('mine')
    })
    expect(await clock.complete(outcomeOf(bad))).toBe('mine')
    expect(log.counts.append).toBe(0)
    storage.write = write
    await clock.complete(set('good', '1'))
    expect(storage.connection.committedEntries()).toEqual([['good', '1']])
  })

  test('a promise from a callback is refused', async () => {
    const { clock, storage, pipeline } = testPipeline()
    const bad = pipeline.write(async (tx) => tx.set('bad', '1'))
    expect(await clock.complete(outcomeOf(bad))).toBe('WRITE_ASYNC')
    expect(storage.connection.committedEntries()).toEqual([])
  })

  test('a group that changes nothing leaves no record and is answered with the present position', async () => {
    const { clock, log, pipeline, set } = testPipeline()
    await clock.complete(set('a', '1'))
    const { value, receipt } = await clock.complete(pipeline.write((tx) => tx.get('a')))
    expect(value).toBe('1')
    expect(receipt).toMatchObject({ position: { epoch: 1, lsn: 2 }, crc: log.end.crc, index: 0 })
    expect(log.counts.append).toBe(1)
  })

  test('a write from within a write callback joins a later group', async () => {
    const { clock, pipeline, storage, set } = testPipeline()
    let inner: Promise<unknown> = Promise.resolve()
    await clock.complete(pipeline.write((tx) => ((inner = set('inner', '1')), tx.set('outer', '1'))))
    await clock.complete(inner)
    expect(storage.connection.committedEntries()).toEqual([
      ['inner', '1'],
      ['outer', '1'],
    ])
  })
})

describe('failures that leave no trace', () => {
  test('when the engine ends the transaction, every write of the group is NOT_WRITTEN and the next group goes on', async () => {
    const { clock, log, storage, pipeline, set } = testPipeline()
    const before = set('a', '1')
    const own = pipeline.write(() => {
      throw new Error('own')
    })
    const killer = pipeline.write((tx) => tx.lose())
    const after = set('b', '1')
    const outcomes = await clock.complete(Promise.all([before, own, killer].map(outcomeOf)))
    expect(outcomes[0]).toMatch(/^NOT_WRITTEN <- TRANSACTION_LOST/)
    expect(outcomes[1]).toBe('own')
    expect(outcomes[2]).toMatch(/^NOT_WRITTEN <- TRANSACTION_LOST/)
    await clock.complete(after)
    expect(storage.connection.committedEntries()).toEqual([['b', '1']])
    expect(log.counts.append).toBe(1)
  })

  test('when the payload cannot be made, the group is NOT_WRITTEN with the cause', async () => {
    const format = memoryFormat()
    let isBroken = true
    const { clock, log, storage, set } = testPipeline({
      format: {
        ...format,
        recorder: (connection) => {
          const recorder = format.recorder(connection)
          const finish = recorder.finishGroup.bind(recorder)
          recorder.finishGroup = () => {
            if (isBroken) throw new UnderstudyError('TABLE_WITHOUT_PRIMARY_KEY', 'no key')
            return finish()
          }
          return recorder
        },
      },
    })
    const outcomes = await clock.complete(Promise.all([set('a', '1'), set('b', '1')].map(outcomeOf)))
    expect(outcomes).toEqual(Array.from({ length: 2 }, () => 'NOT_WRITTEN <- TABLE_WITHOUT_PRIMARY_KEY'))
    expect(log.counts.append).toBe(0)
    isBroken = false
    await clock.complete(set('c', '1'))
    expect(storage.connection.committedEntries()).toEqual([['c', '1']])
  })

  test('a full disk is NOT_WRITTEN, and the next write goes on', async () => {
    const { clock, log, storage, set } = testPipeline()
    log.nextAppendError = new UnderstudyError('DISK_FULL', 'full')
    expect(await clock.complete(outcomeOf(set('a', '1')))).toBe('NOT_WRITTEN <- DISK_FULL')
    await clock.complete(set('b', '1'))
    expect(storage.connection.committedEntries()).toEqual([['b', '1']])
  })

  test('a transaction over the limit is NOT_WRITTEN', async () => {
    const { clock, log, set } = testPipeline({ limits: { transactionBytesMax: 1000 } })
    expect(await clock.complete(outcomeOf(set('a', 'x'.repeat(1000))))).toBe(
      'NOT_WRITTEN <- TRANSACTION_TOO_LARGE',
    )
    expect(log.counts.append).toBe(0)
    await clock.complete(set('a', 'x'.repeat(900)))
  })

  test('a write that waits until its deadline is never run', async () => {
    const { clock, log, storage, set, pipeline } = testPipeline()
    log.syncsAtOnce = false
    const first = Promise.all([set('a', '1'), set('b', '1')])
    await clock.advance(1)
    const waiting = outcomeOf(pipeline.write((tx) => tx.set('late', '1'), { timeoutMs: 50 }))
    const patient = set('c', '1')
    await clock.advance(49)
    expect(pipeline.queued).toBe(2)
    expect(await clock.complete(waiting)).toBe('NOT_WRITTEN')
    expect(pipeline.queued).toBe(1)
    log.syncsAtOnce = true
    log.releaseSyncs()
    await clock.complete(Promise.all([first, patient]))
    expect(storage.get('late')).toBeUndefined()
  })

  test('a queue at its limit takes no more', async () => {
    const { clock, log, set, pipeline } = testPipeline({ limits: { queueWritesMax: 2 } })
    log.syncsAtOnce = false
    const running = Promise.all([set('a', '1'), set('b', '1')])
    await clock.advance(1)
    const queued = Promise.all([set('c', '1'), set('d', '1')])
    expect(await clock.complete(outcomeOf(set('e', '1')))).toBe('OVERLOADED')
    expect(pipeline.queued).toBe(2)
    log.releaseSyncs()
    await clock.complete(running)
    await clock.advance(1)
    log.releaseSyncs()
    await clock.complete(queued)
  })
})

describe('failures that stop the node', () => {
  test('a failed sync: the group’s outcome is unknown, what waits is not written, later writes get the failure', async () => {
    const { clock, log, storage, failures, set } = testPipeline()
    log.syncsAtOnce = false
    const group = [set('a', '1'), set('b', '1')].map(outcomeOf)
    await clock.advance(1)
    const waiting = outcomeOf(set('c', '1'))
    log.releaseSyncs(new UnderstudyError('LOG_FAILED', 'EIO'))
    expect(await clock.complete(Promise.all(group))).toEqual([
      'OUTCOME_UNKNOWN 1/2 <- LOG_FAILED',
      'OUTCOME_UNKNOWN 1/2 <- LOG_FAILED',
    ])
    expect(await clock.complete(waiting)).toBe('NOT_WRITTEN <- LOG_FAILED')
    expect(await clock.complete(outcomeOf(set('d', '1')))).toBe('LOG_FAILED')
    expect(storage.connection.committedEntries()).toEqual([])
    expect(failures.map(({ code }) => code)).toEqual(['LOG_FAILED'])
  })

  test('a failed sync of a lone write is no different', async () => {
    const { clock, log, storage, durable, pipeline, set } = testPipeline()
    log.nextSyncError = new UnderstudyError('LOG_FAILED', 'EIO')
    expect(await clock.complete(outcomeOf(set('a', '1')))).toBe('OUTCOME_UNKNOWN 1/2 <- LOG_FAILED')
    expect(storage.connection.committedEntries()).toEqual([])
    expect(durable).toEqual([])
    expect(pipeline.highWatermark).toBe(1)
  })

  test('an append that fails the log may have reached the disk', async () => {
    const { clock, log, set, pipeline } = testPipeline()
    const failure = new UnderstudyError('LOG_FAILED', 'EIO')
    log.nextAppendError = failure
    const append = log.append.bind(log)
    log.append = (drafts) => {
      log.failure = failure
      return append(drafts)
    }
    expect(await clock.complete(outcomeOf(set('a', '1')))).toBe('OUTCOME_UNKNOWN 1/2 <- LOG_FAILED')
    expect(pipeline.failure).toBe(failure)
  })

  test('a failed COMMIT: the record is durable, so its outcome is not “not written”', async () => {
    const { clock, log, storage, failures, set } = testPipeline()
    storage.failCommit()
    expect(await clock.complete(outcomeOf(set('a', '1')))).toBe('OUTCOME_UNKNOWN 1/2 <- STORAGE_FAILED')
    expect(log.durable).toBe(2)
    expect(failures).toHaveLength(1)
    expect(await clock.complete(outcomeOf(set('b', '1')))).toBe('STORAGE_FAILED')
  })

  test('a foreign write is noticed before the next group, which is not written', async () => {
    const { clock, log, storage, failures, set } = testPipeline()
    storage.foreignWrite('x', 'theirs')
    expect(await clock.complete(outcomeOf(set('a', '1')))).toBe('NOT_WRITTEN <- FOREIGN_WRITE')
    expect(failures.map(({ code }) => code)).toEqual(['FOREIGN_WRITE'])
    expect(log.counts.append).toBe(0)
    expect(await clock.complete(outcomeOf(set('b', '1')))).toBe('FOREIGN_WRITE')
  })
})

describe('markers', () => {
  test('a marker is a record of its own, told of when it and nothing later is visible', async () => {
    const seen: string[] = []
    const { clock, log, pipeline, storage, set } = testPipeline({
      onMarker: (point) => seen.push(`${point.lsn} ${storage.applied.lsn} ${storage.connection.size}`),
    })
    const writes = [set('a', '1'), set('b', '1')]
    const marker = pipeline.mark()
    const later = set('c', '1')
    const point = await clock.complete(marker)
    await clock.complete(Promise.all([...writes, later]))
    expect(point).toEqual({ epoch: 1, lsn: 3, crc: log.crcAt(3) })
    expect(seen).toEqual(['3 3 2'])
    expect([...log.records(3, 3)][0]).toMatchObject({ format: 0, flags: 0 })
  })
})

describe('statements', () => {
  // A storage whose transactions have `run`, as SQLite's have: each statement is "key=value" and changes one key.
  function statementPipeline(): ReturnType<typeof testPipeline> & {
    readonly write: CommitPipeline['write']
  } {
    const made = testPipeline()
    const write = made.storage.write.bind(made.storage)
    made.storage.write = (body, recorder, options) =>
      write(
        (tx) => {
          const run = (sql: string): { changes: bigint; lastInsertRowid: bigint } => {
            const [key = '', value = ''] = sql.split('=')
            const changes = tx.get(key) === value ? 0n : 1n
            tx.set(key, value)
            return { changes, lastInsertRowid: 0n }
          }
          return body(Object.assign(tx, { run }))
        },
        recorder,
        options,
      )
    return { ...made, write: made.pipeline.write.bind(made.pipeline) as unknown as CommitPipeline['write'] }
  }

  test('a list runs in order and answers with each result', async () => {
    const { clock, storage, write } = statementPipeline()
    const { value, receipt } = await clock.complete(
      write([{ sql: 'a=1' }, { sql: 'a=1' }, { sql: 'b=2', expect: 1 }]),
    )
    expect(value.map(({ changes }) => changes)).toEqual([1n, 0n, 1n])
    expect(receipt.position).toEqual({ epoch: 1, lsn: 2 })
    expect(storage.connection.committedEntries()).toEqual([
      ['a', '1'],
      ['b', '2'],
    ])
  })

  test('another number of changed rows than expected rolls the whole list back, and nothing else', async () => {
    const { clock, storage, write } = statementPipeline()
    const bad = write([{ sql: 'a=1' }, { sql: 'a=1', expect: 1 }])
    const good = write([{ sql: 'b=2', expect: 1 }])
    await expect(clock.complete(bad)).rejects.toMatchObject({
      code: 'EXPECTATION_FAILED',
      details: { statement: 1, changes: 0, expected: 1 },
    })
    await clock.complete(good)
    expect(storage.connection.committedEntries()).toEqual([['b', '2']])
  })
})

describe('large transactions', () => {
  test('a payload longer than a record becomes a chain, whose position is that of its last part', async () => {
    const { clock, log, set } = testPipeline({ limits: { recordBytesMax: 100 } })
    const point = await clock.complete(set('a', 'x'.repeat(350)))
    expect(point.lsn).toBe(5)
    const records = [...log.records(2, 5)]
    expect(records.map(({ flags }) => flags)).toEqual([1, 1, 1, 0])
    const assembler = new PartAssembler(1000)
    const whole = records.map((record) => assembler.push(record))
    expect(whole.slice(0, 3)).toEqual([undefined, undefined, undefined])
    expect(memoryFormat().describe?.(whole[3]?.payload ?? new Uint8Array())).toEqual([
      { key: 'a', before: null, after: 'x'.repeat(350) },
    ])
  })

  test('a payload of exactly one record is one record', async () => {
    const one = testPipeline()
    await one.clock.complete(one.set('a', 'x'.repeat(350)))
    const bytes = [...one.log.records(2, 2)][0]?.payload.length ?? 0
    for (const [recordBytesMax, parts] of [
      [bytes, 1],
      [bytes - 1, 2],
    ] as const) {
      const { clock, log, set } = testPipeline({ limits: { recordBytesMax } })
      await clock.complete(set('a', 'x'.repeat(350)))
      expect(log.end.lsn).toBe(1 + parts)
    }
  })
})

describe('closing', () => {
  test('what was taken on is finished, what comes later is refused', async () => {
    const { clock, pipeline, storage, set } = testPipeline()
    const write = set('a', '1')
    const closed = pipeline.close()
    expect(await clock.complete(outcomeOf(set('b', '1')))).toBe('CLOSED')
    await clock.complete(write)
    await clock.complete(closed)
    expect(storage.connection.committedEntries()).toEqual([['a', '1']])
    expect(clock.pending).toBe(0)
  })

  test('closing after a failure does not hang', async () => {
    const { clock, log, pipeline, set } = testPipeline()
    log.nextSyncError = new UnderstudyError('LOG_FAILED', 'EIO')
    await clock.complete(outcomeOf(set('a', '1')))
    await clock.complete(pipeline.close())
    expect(pipeline.failure?.code).toBe('LOG_FAILED')
  })
})

test('a marker handler that throws is the mark’s own failure', async () => {
  const { clock, pipeline, set } = testPipeline({
    onMarker: () => {
      throw new Error('no view')
    },
  })
  expect(await clock.complete(outcomeOf(pipeline.mark()))).toBe('no view')
  await clock.complete(set('a', '1'))
})

test('a limit that is no positive number is refused, a record that fits no frame too', () => {
  expect(() => testPipeline({ limits: { recordBytesMax: 2 ** 24 } })).toThrow(/fit into a frame/)
  expect(() => testPipeline({ limits: { groupWritesMax: 0 } })).toThrow(/groupWritesMax/)
})
