/** Physical formats in the pipeline, and what a start does about a crash between COMMIT and append. */
import { FORMAT_CONTROL, CONTROL_FORMAT, systemRandom } from '@understudy/contracts'
import { memoryFormat, type MemoryStorage } from '@understudy/testkit'
import { describe, expect, test } from 'vitest'
import { becomeLeader, redo } from '../src/index.ts'
import type { MemoryLog } from './support/memory-log.ts'
import { outcomeOf, testPipeline, type TestPipeline } from './support/pipeline.ts'

const pages = memoryFormat({ physical: true })
const rows = memoryFormat()
const formats = [rows, pages]

/** A pipeline whose format is physical, from its base on. */
async function physicalPipeline(): Promise<TestPipeline> {
  const made = testPipeline()
  await made.clock.complete(made.pipeline.switchFormat(pages))
  return made
}

function lead(made: TestPipeline, storage: MemoryStorage, log: MemoryLog): ReturnType<typeof becomeLeader> {
  const { clock } = made
  return clock.complete(
    becomeLeader({
      storage,
      log,
      format: pages,
      formats,
      cluster: 'c',
      node: 'a',
      clock,
      random: systemRandom(),
      defer: (run) => clock.schedule(0, run),
    }),
  )
}

describe('a physical group', () => {
  test('is committed before its record is appended, and answered after that is durable', async () => {
    const { clock, log, storage, pipeline } = await physicalPipeline()
    const order: string[] = []
    const append = log.append.bind(log)
    log.append = (drafts) => {
      order.push(`append, storage ahead: ${storage.ahead}, sees ${String(storage.get('a'))}`)
      return append(drafts)
    }
    const { receipt } = await clock.complete(pipeline.write((tx) => tx.set('a', '1')))
    order.push(`answered, storage ahead: ${storage.ahead}`)
    expect(order).toEqual(['append, storage ahead: true, sees 1', 'answered, storage ahead: false'])
    expect(storage.applied).toEqual({ ...receipt.position, crc: receipt.crc })
    expect(log.durable).toBe(receipt.position.lsn)
  })

  test('that changed nothing leaves no record', async () => {
    const { clock, log, pipeline } = await physicalPipeline()
    const end = log.end.lsn
    await clock.complete(pipeline.write((tx) => tx.get('a')))
    expect(log.end.lsn).toBe(end)
  })

  test('a marker stores nothing and is settled only', async () => {
    const { clock, storage, pipeline } = await physicalPipeline()
    const point = await clock.complete(pipeline.mark())
    expect(storage.applied).toEqual(point)
    expect(storage.kill().applied.lsn).toBeLessThan(point.lsn)
  })

  test('that cannot be appended stops the pipeline with its outcome unknown, and the next start logs it', async () => {
    const made = await physicalPipeline()
    const { clock, log, storage, pipeline } = made
    const append = log.append.bind(log)
    log.append = () => {
      throw new Error('no space')
    }
    expect(await clock.complete(outcomeOf(pipeline.write((tx) => tx.set('a', '1'))))).toMatch(
      /^OUTCOME_UNKNOWN/,
    )
    expect(await outcomeOf(pipeline.write((tx) => tx.set('b', '1')))).not.toBe('resolved')
    log.append = append
    const end = log.end.lsn
    const found = storage.kill()
    expect(found.ahead).toBe(true)
    await lead(made, found, log)
    // The no-op of the epoch, then what the crash kept out.
    expect(log.end.lsn).toBe(end + 2)
    expect(found).toMatchObject({ ahead: false, applied: log.end })
    expect(found.get('a')).toBe('1')
  })

  test('whose record is there is not logged twice', async () => {
    const made = await physicalPipeline()
    await made.clock.complete(made.pipeline.write((tx) => tx.set('a', '1')))
    const end = made.log.end.lsn
    const found = made.storage.kill()
    expect(found.ahead).toBe(true)
    await lead(made, found, made.log)
    expect(made.log.end.lsn).toBe(end + 1)
  })

  test('a file that is not what its record left is told apart at the start', async () => {
    const { clock, log, storage, pipeline } = await physicalPipeline()
    await clock.complete(pipeline.write((tx) => tx.set('a', '1')))
    const found = storage.kill()
    found.connection.overwrite('a', '2')
    expect(await outcomeOf(redo({ log, storage: found, formats, clock }))).toMatch(/^SNAPSHOT_REQUIRED/)
  })

  test('pages are never applied to a file that is not page by page the leader’s', async () => {
    const { clock, log, storage, pipeline } = await physicalPipeline()
    await clock.complete(pipeline.write((tx) => tx.set('a', '1')))
    expect(storage.physical).toBe(true)
    const other = testPipeline().storage
    const work = redo({ log, storage: other, formats, clock, defer: (run) => clock.schedule(0, run) })
    expect(await clock.complete(outcomeOf(work))).toMatch(/^SNAPSHOT_REQUIRED/)
  })
})

describe('a change of format', () => {
  test('to another logical format is a control record, after which groups are of that format', async () => {
    const { clock, log, pipeline, set } = testPipeline()
    const other = memoryFormat({ id: 65_007 })
    await clock.complete(set('a', '1'))
    const point = await clock.complete(pipeline.switchFormat(other))
    await clock.complete(set('a', '2'))
    const records = [...log.records(1, log.durable)].map(({ format, payload }) =>
      format === FORMAT_CONTROL ? `control ${payload[0]}` : format,
    )
    expect(records).toEqual(['control 1', rows.id, `control ${CONTROL_FORMAT}`, other.id])
    expect(point.lsn).toBe(3)
    expect(pipeline.format).toBe(other)
  })

  test('to pages waits until the storage is durable, and writes that come meanwhile are of pages', async () => {
    const { clock, log, storage, pipeline, set } = testPipeline()
    await clock.complete(set('a', '1'))
    const switched = pipeline.switchFormat(pages)
    const written = set('b', '1')
    await clock.complete(Promise.all([switched, written]))
    const [base, write] = [...log.records(3, log.durable)]
    expect([base?.format, write?.format]).toEqual([pages.id, pages.id])
    // Whatever a power loss takes, it is above the base.
    expect(storage.crash({ kept: 0 })).toMatchObject({ physical: true })
  })

  test('that inspection refuses leaves the old one in force', async () => {
    const { clock, pipeline, set } = testPipeline()
    const choosy = {
      ...memoryFormat({ id: 65_007 }),
      inspect: () => {
        throw new Error('not this database')
      },
    }
    expect(await clock.complete(outcomeOf(pipeline.switchFormat(choosy)))).toBe('not this database')
    expect(pipeline.format.id).toBe(rows.id)
    await clock.complete(set('a', '1'))
  })

  test('to the format in force makes no record', async () => {
    const { clock, log, pipeline } = testPipeline()
    await clock.complete(pipeline.switchFormat(pipeline.format))
    expect(log.end.lsn).toBe(1)
  })
})
