/** What others commit to a storage's file: taken by a capture, and what a start makes of such a storage. */
import { CONTROL_MARKER, FLAG_CONTINUES, FORMAT_CONTROL, UnderstudyError } from '@understudy/contracts'
import { memoryFormat } from '@understudy/testkit'
import { describe, expect, test } from 'vitest'
import { adoptStorage } from '../src/index.ts'
import { testPipeline, type TestPipeline } from './support/pipeline.ts'

const pages = memoryFormat({ physical: true })

async function physicalPipeline(): Promise<TestPipeline & { readonly bases: number[] }> {
  const bases: number[] = []
  const made = testPipeline({ onBase: ({ lsn }) => bases.push(lsn) })
  await made.clock.complete(made.pipeline.switchFormat(pages))
  return { ...made, bases }
}

function kinds({ log }: TestPipeline, from: number): string[] {
  return [...log.records(from, log.durable)].map(({ format, payload }) =>
    format === FORMAT_CONTROL ? `control ${payload[0]}` : 'pages',
  )
}

describe('a capture', () => {
  test('logs a group without writes and names its position', async () => {
    const made = await physicalPipeline()
    const { clock, storage, log, pipeline, bases } = made
    const end = log.end.lsn
    const point = await clock.complete(pipeline.capture())
    expect(point).toEqual(log.end)
    expect(storage).toMatchObject({ ahead: false, applied: point })
    expect(kinds(made, end + 1)).toEqual(['pages'])
    // That of the change to pages.
    expect(bases).toEqual([2])
    expect(made.markers).toEqual([])
  })

  test('with a marker freezes while nobody can commit, and the marker is the record after it', async () => {
    const made = await physicalPipeline()
    const { clock, storage, log, pipeline, markers } = made
    const end = log.end.lsn
    const frozen: boolean[] = []
    const point = await clock.complete(pipeline.capture(() => frozen.push(storage.connection.inTransaction)))
    expect(frozen).toEqual([true])
    expect(kinds(made, end + 1)).toEqual(['pages', `control ${CONTROL_MARKER}`])
    expect(point.lsn).toBe(end + 2)
    expect(markers).toEqual([point])
    // As a crash leaves it: the storage says after which record its last transaction comes.
    expect(storage.kill().applied.lsn).toBe(end)
  })

  test('that meets a held lock changes nothing, and the next one takes all', async () => {
    const { clock, log, storage, pipeline, failures } = await physicalPipeline()
    const { end } = log
    const begin = storage.begin.bind(storage)
    storage.begin = () => {
      throw new UnderstudyError('TIMEOUT', 'another program holds the lock')
    }
    const refused = await clock.complete(pipeline.capture().catch((error: unknown) => error))
    expect(refused).toMatchObject({ code: 'NOT_WRITTEN', cause: { code: 'TIMEOUT' } })
    expect(log.end).toEqual(end)
    expect(failures).toEqual([])
    storage.begin = begin
    await clock.complete(pipeline.capture())
    expect(log.end.lsn).toBe(end.lsn + 1)
  })

  test('of what cannot be told page by page is a base, in the place of a marker', async () => {
    const { clock, pipeline, bases, log, markers } = await physicalPipeline()
    const tight = memoryFormat({ physical: true, changesMax: -1 })
    await clock.complete(pipeline.switchFormat(tight))
    const point = await clock.complete(pipeline.capture())
    expect(bases.at(-1)).toBe(point.lsn)
    const refused = await clock.complete(pipeline.capture(() => {}).catch((error: unknown) => error))
    expect(refused).toMatchObject({ code: 'NOT_WRITTEN', details: { reason: 'base' } })
    expect(bases.at(-1)).toBe(log.end.lsn)
    expect(markers).toEqual([])
    await clock.complete(pipeline.mark())
    expect(markers).toHaveLength(1)
  })

  test('in a format of rows takes nothing', async () => {
    const { clock, log, pipeline } = testPipeline()
    const { end } = log
    expect(await clock.complete(pipeline.capture())).toEqual(end)
    expect(log.end).toEqual(end)
  })
})

describe('a storage that others write is at the end of the log', () => {
  test.each([
    { epoch: 9, lsn: 700, crc: 1 },
    { epoch: 1, lsn: 1, crc: 1 },
    { epoch: 0, lsn: 0, crc: 0 },
  ])('whatever position it holds: $epoch/$lsn', async (point) => {
    const { log, storage } = await physicalPipeline()
    storage.begin()
    storage.markBefore(point)
    storage.commit()
    adoptStorage(log, storage)
    expect(storage).toMatchObject({ applied: log.end, physical: false, ahead: false })
  })

  test.each(['at its own position', 'at another'])(
    'without the transaction whose last part is missing, found %s',
    async (where) => {
      const { log, storage } = await physicalPipeline()
      const { end } = log
      const part = { format: pages.id, flags: FLAG_CONTINUES, committedAtMs: 0, payload: Uint8Array.of(1) }
      log.append([part, part])
      log.durable = log.end.lsn
      if (where === 'at another') {
        storage.begin()
        storage.markBefore({ epoch: 1, lsn: 1, crc: 0 })
        storage.commit()
      }
      adoptStorage(log, storage)
      expect(log.end).toEqual(end)
      expect(storage.applied).toEqual(end)
    },
  )

  test('a whole chain, and one that a new epoch interrupts, stay', async () => {
    const { log, storage } = await physicalPipeline()
    const part = { format: pages.id, flags: FLAG_CONTINUES, committedAtMs: 0, payload: Uint8Array.of(1) }
    log.append([part, { ...part, flags: 0 }, part])
    log.startEpoch({ runId: 'fedcba9876543210', leader: 'a', committedAtMs: 0 })
    log.durable = log.end.lsn
    const { end } = log
    adoptStorage(log, storage)
    expect(log.end).toEqual(end)
  })
})
