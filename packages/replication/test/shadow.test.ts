/** A shadow in the pipeline: what counts, and that nothing it does reaches a user. */
import type { LogFormat, Recorder } from '@understudy/contracts'
import { memoryFormat, type MemoryConnection } from '@understudy/testkit'
import { describe, expect, test } from 'vitest'
import { outcomeOf, testPipeline, type TestPipeline } from './support/pipeline.ts'

type Format = LogFormat<MemoryConnection>
const other = memoryFormat({ id: 65_010 })
const pages = memoryFormat({ physical: true })

/** `other`, with members of its recorder replaced; `calls` are those that it got. */
function spied(replace: Partial<Recorder> = {}, calls: string[] = []): Format {
  return {
    ...other,
    recorder: (connection, options) => {
      calls.push(`recorder ${JSON.stringify(options)}`)
      const recorder = other.recorder(connection)
      const call = (name: keyof Recorder): unknown => {
        calls.push(name)
        const run = (replace[name] ?? recorder[name]) as () => unknown
        return run.call(recorder)
      }
      return {
        beginGroup: () => void call('beginGroup'),
        beginWrite: () => void call('beginWrite'),
        endWrite: () => void call('endWrite'),
        abandonWrite: () => void call('abandonWrite'),
        finishGroup: () => call('finishGroup') as readonly Uint8Array[],
        abandonGroup: () => void call('abandonGroup'),
        close: () => void call('close'),
      }
    },
  }
}

function shadowed(format: Format, options: Parameters<typeof testPipeline>[0] = {}): TestPipeline {
  return testPipeline({ shadow: { format }, ...options })
}

function payloadBytes({ log }: TestPipeline): number {
  return [...log.records(2, log.durable)].reduce((sum, { payload }) => sum + payload.length, 0)
}

const fails = (): never => {
  throw new Error('the shadow failed')
}

describe('a shadow', () => {
  test('counts groups and bytes on both sides, and only the primary is logged', async () => {
    const made = shadowed(other)
    await made.clock.complete(Promise.all([made.set('a', '1'), made.set('b', '2')]))
    await made.clock.complete(made.set('c', '3'))
    const report = made.pipeline.shadow
    expect(report).toMatchObject({ format: 'memory-65010', groups: 2, refused: 0 })
    expect(report?.primary).toMatchObject({ format: 'memory', groups: 2, bytes: payloadBytes(made) })
    expect(report?.bytes).toBeGreaterThan(report?.primary.bytes ?? Infinity)
    expect([...made.log.records(2, made.log.durable)].map(({ format }) => format)).toEqual([65_000, 65_000])
  })

  test('counts nothing for markers, reads, and groups that are rolled back', async () => {
    const { clock, pipeline, log, set } = shadowed(other)
    await clock.complete(pipeline.mark())
    await clock.complete(pipeline.write((tx) => tx.get('a')))
    log.append = fails
    expect(await clock.complete(outcomeOf(set('a', '1')))).toMatch(/^NOT_WRITTEN/)
    expect(pipeline.shadow).toMatchObject({
      groups: 0,
      bytes: 0,
      refused: 0,
      primary: { groups: 0, bytes: 0 },
    })
  })

  test('is told that it is not in force, and gets each call in the order of the contract', async () => {
    const calls: string[] = []
    const { clock, pipeline, set } = shadowed(spied({}, calls))
    const bad = outcomeOf(
      pipeline.write((tx) => {
        tx.set('bad', '1')
        throw new Error('mine')
      }),
    )
    await clock.complete(Promise.all([bad, set('a', '1')]))
    await clock.complete(pipeline.close())
    expect(calls).toEqual([
      'recorder {"unapplied":true}',
      'beginGroup',
      'beginWrite',
      'abandonWrite',
      'beginWrite',
      'endWrite',
      'finishGroup',
      'close',
    ])
    expect(pipeline.shadow).toMatchObject({ groups: 1, refused: 0 })
  })

  const members = ['beginGroup', 'beginWrite', 'endWrite', 'finishGroup', 'abandonGroup', 'close'] as const
  test.for(members)('that throws in %s changes nothing for anybody', async (member) => {
    const { clock, pipeline, storage, set } = shadowed(spied({ [member]: fails }))
    await clock.complete(set('a', '1'))
    await clock.complete(set('a', '2'))
    expect(storage.get('a')).toBe('2')
    const isHarmless = member === 'abandonGroup' || member === 'close'
    expect(pipeline.shadow).toMatchObject({
      groups: isHarmless ? 2 : 0,
      refused: isHarmless ? 0 : 2,
      primary: { groups: 2 },
      ...(!isHarmless && { lastReason: 'the shadow failed', bytes: 0, ms: 0 }),
    })
    await clock.complete(pipeline.close())
  })

  test('begins afresh after a group that it could not record', async () => {
    let failing = true
    const inner = spied()
    const format: Format = {
      ...inner,
      recorder: (connection) => {
        const recorder = inner.recorder(connection)
        return { ...recorder, endWrite: () => (failing ? fails() : recorder.endWrite()) }
      },
    }
    const { clock, pipeline, set } = shadowed(format)
    await clock.complete(set('a', '1'))
    failing = false
    await clock.complete(set('a', '2'))
    expect(pipeline.shadow).toMatchObject({ groups: 1, refused: 1 })
  })

  test('without a recorder refuses every group, for the reason why there is none', async () => {
    const { clock, pipeline, set } = shadowed({ ...other, recorder: fails })
    await clock.complete(set('a', '1'))
    await clock.complete(set('a', '2'))
    expect(pipeline.shadow).toMatchObject({ groups: 0, refused: 2, lastReason: 'the shadow failed' })
  })

  test('what observers throw stays with the shadow, and their time counts', async () => {
    const arounds: ((run: () => void) => void)[] = []
    const { clock, pipeline, set } = testPipeline({
      shadow: {
        format: other,
        watched: (connection, around) => {
          arounds.push(around)
          return connection
        },
      },
    })
    const [primary, shadow] = arounds
    const monotonic = clock.monotonic.bind(clock)
    let spentMs = 0
    clock.monotonic = () => monotonic() + spentMs
    await clock.complete(
      pipeline.write((tx) => {
        primary?.(() => (spentMs += 3))
        shadow?.(() => (spentMs += 5))
        tx.set('a', '1')
      }),
    )
    expect(pipeline.shadow).toMatchObject({ groups: 1, ms: 5, primary: { ms: 3 } })
    await clock.complete(pipeline.write((tx) => (shadow?.(fails), tx.set('a', '2'))))
    expect(pipeline.shadow).toMatchObject({ groups: 1, refused: 1, lastReason: 'the shadow failed' })
    expect(() => primary?.(fails)).toThrow('the shadow failed')
    await clock.complete(set('a', '3'))
    expect(pipeline.shadow).toMatchObject({ groups: 2, refused: 1 })
  })

  test('cannot be the format in force, nor take pages beside one that does', () => {
    const refused = expect.objectContaining({ code: 'INVALID_ARGUMENT' })
    expect(() => shadowed(memoryFormat())).toThrow(refused)
    expect(() => shadowed({ ...pages, id: 65_011 }, { format: pages })).toThrow(refused)
  })
})

describe('a shadow and pages', () => {
  test('a logical shadow is asked before COMMIT of a physical group, once', async () => {
    const order: string[] = []
    const made = shadowed(spied({}, order))
    const { clock, pipeline, storage, set } = made
    await clock.complete(pipeline.switchFormat(pages))
    expect(pipeline.shadow).toMatchObject({ groups: 0, primary: { groups: 0, bytes: 0 } })
    const commit = storage.commit.bind(storage)
    storage.commit = () => {
      order.push('commit')
      commit()
    }
    order.length = 0
    await clock.complete(set('a', '1'))
    expect(order).toEqual(['beginGroup', 'beginWrite', 'endWrite', 'finishGroup', 'commit'])
    expect(pipeline.shadow).toMatchObject({
      groups: 1,
      refused: 0,
      primary: { format: pages.name, groups: 1 },
    })
  })

  test('a physical shadow is asked after COMMIT', async () => {
    const order: string[] = []
    const format: Format = { ...spied({}, order), physical: true }
    const { clock, storage, pipeline, set } = shadowed(format)
    const commit = storage.commit.bind(storage)
    storage.commit = () => {
      order.push('commit')
      commit()
    }
    order.length = 0
    await clock.complete(set('a', '1'))
    expect(order.indexOf('commit')).toBeLessThan(order.indexOf('finishGroup'))
    expect(pipeline.shadow?.primary.groups).toBe(1)
  })

  test('a physical shadow that cannot tell the pages counts the group as refused', async () => {
    const format: Format = { ...spied({ finishGroup: () => [] }), physical: true }
    const { clock, pipeline, set } = shadowed(format)
    await clock.complete(set('a', '1'))
    expect(pipeline.shadow).toMatchObject({ groups: 0, refused: 1 })
    expect(pipeline.shadow?.lastReason).toMatch(/^The changed pages were too many/)
  })
})

describe('a change of format', () => {
  test('keeps the shadow and counts anew; to the shadow itself it ends it for good', async () => {
    const { clock, pipeline, set } = shadowed(other)
    await clock.complete(set('a', '1'))
    const third = memoryFormat({ id: 65_020 })
    await clock.complete(pipeline.switchFormat(third))
    expect(pipeline.shadow).toMatchObject({ format: other.name, groups: 0, primary: { format: third.name } })
    await clock.complete(pipeline.switchFormat(other))
    expect(pipeline.shadow).toBeUndefined()
    await clock.complete(pipeline.switchFormat(third))
    expect(pipeline.shadow).toBeUndefined()
  })

  test('that fails keeps the shadow', async () => {
    const { clock, pipeline, set } = shadowed(other)
    const broken: Format = { ...other, inspect: fails }
    expect(await clock.complete(outcomeOf(pipeline.switchFormat(broken)))).toBe('the shadow failed')
    await clock.complete(set('a', '1'))
    expect(pipeline.shadow).toMatchObject({ groups: 1, refused: 0 })
  })

  test('whose recorder cannot be made leaves the old format recording', async () => {
    const calls: string[] = []
    const { clock, pipeline, set, storage } = testPipeline({ format: spied({}, calls) })
    const broken: Format = { ...memoryFormat({ id: 65_020 }), recorder: fails }
    expect(await clock.complete(outcomeOf(pipeline.switchFormat(broken)))).toBe('the shadow failed')
    calls.length = 0
    await clock.complete(set('a', '1'))
    expect(storage.get('a')).toBe('1')
    expect(calls).toEqual(['beginGroup', 'beginWrite', 'endWrite', 'finishGroup'])
  })
})
