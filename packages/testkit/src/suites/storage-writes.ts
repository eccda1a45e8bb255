/** Storage suite: each write of a group stands or falls alone, and its recorder is told. */
import { expect, test } from 'vitest'
import { UnderstudyError, type OpenWrite } from '@understudy/contracts'
import { HookRecorder, pointAt, type StorageBench } from './storage-bench.ts'

export function writeTests<C, T>(bench: StorageBench<C, T>): void {
  test('a write returns what its body returns, between the hooks of the recorder', () => {
    const recorder = new HookRecorder()
    bench.storage.begin()
    const result = bench.storage.write(() => {
      recorder.calls.push('body')
      return { answer: 42 }
    }, recorder)
    bench.storage.commit()
    expect(result).toEqual({ answer: 42 })
    expect(recorder.calls).toEqual(['beginWrite', 'body', 'endWrite'])
  })

  test.for([false, true])(
    'a write that throws is undone by itself, and its error is thrown on (alone: %s)',
    (alone) => {
      const recorder = new HookRecorder()
      const boom = new Error('boom')
      bench.storage.begin()
      bench.storage.write((tx) => bench.under.put(tx, 'before', 'kept'), recorder)
      const failing = (tx: T): never => {
        bench.under.put(tx, 'before', 'changed')
        bench.under.put(tx, 'failed', 'gone')
        throw boom
      }
      // Only a group of one write may say that it is alone.
      if (alone) {
        bench.storage.commit()
        bench.storage.begin()
      }
      expect(() => bench.storage.write(failing, recorder, { alone })).toThrow(boom)
      if (alone) {
        bench.storage.rollback()
        bench.storage.begin()
      }
      bench.storage.write((tx) => bench.under.put(tx, 'after', 'kept'), recorder)
      bench.storage.commit()
      expect(['before', 'failed', 'after'].map((key) => bench.under.read(key))).toEqual([
        'kept',
        undefined,
        'kept',
      ])
      expect(recorder.calls).toEqual([
        'beginWrite',
        'endWrite',
        'beginWrite',
        'abandonWrite',
        'beginWrite',
        'endWrite',
      ])
    },
  )

  test('a write sees what earlier writes of its group did', () => {
    bench.storage.begin()
    bench.put('a', 'one')
    const seen = bench.storage.write((tx) => bench.under.get(tx, 'a'), new HookRecorder())
    bench.storage.commit()
    expect(seen).toBe('one')
  })

  test('a recorder that throws at the end of a write fails that write alone', () => {
    const recorder = new HookRecorder()
    recorder.endWrite = () => {
      throw new UnderstudyError('TABLE_WITHOUT_PRIMARY_KEY', 'A table has no PRIMARY KEY.')
    }
    bench.storage.begin()
    bench.put('a', 'kept')
    expect(() => bench.put('b', 'gone', recorder)).toThrow(
      expect.objectContaining({ code: 'TABLE_WITHOUT_PRIMARY_KEY' }),
    )
    bench.storage.commit()
    expect(bench.under.read('a')).toBe('kept')
    expect(bench.under.read('b')).toBeUndefined()
    expect(recorder.calls).toEqual(['beginWrite', 'abandonWrite'])
  })

  test('a body that returns a promise is WRITE_ASYNC, and nothing of it stays', async () => {
    bench.storage.begin()
    const asynchronous = async (tx: T): Promise<void> => {
      bench.under.put(tx, 'a', 'gone')
      await Promise.resolve()
      throw new Error('its own later failure harms nobody')
    }
    expect(() => bench.storage.write(asynchronous, new HookRecorder())).toThrow(
      expect.objectContaining({ code: 'WRITE_ASYNC' }),
    )
    bench.put('b', 'kept')
    bench.storage.commit()
    await new Promise<void>((resolve) => {
      setImmediate(resolve)
    })
    expect(bench.under.read('a')).toBeUndefined()
    expect(bench.under.read('b')).toBe('kept')
  })

  test('the transaction object is dead once its callback returned', () => {
    bench.storage.begin()
    const kept = bench.storage.write((tx) => ({ tx }), new HookRecorder())
    expect(() => bench.under.put(kept.tx, 'a', 'late')).toThrow(Error)
    bench.storage.commit()
    expect(bench.under.read('a')).toBeUndefined()
  })

  test('a group of a thousand writes, a third of which fail, keeps exactly the others', () => {
    bench.storage.begin()
    for (let index = 0; index < 1000; index++) {
      const write = (tx: T): void => {
        bench.under.put(tx, `key ${index}`, 'value')
        if (index % 3 === 0) throw new Error('every third')
      }
      try {
        bench.storage.write(write, new HookRecorder())
      } catch {
        // Expected for every third.
      }
    }
    bench.storage.commit()
    for (let index = 0; index < 1000; index++) {
      expect(bench.under.read(`key ${index}`)).toBe(index % 3 === 0 ? undefined : 'value')
    }
  })

  test('a transaction that the engine ended is TRANSACTION_LOST, and the whole group is gone', (context) => {
    const { loseTransaction } = bench.under
    if (loseTransaction === undefined) {
      context.skip()
      return
    }
    bench.commit('a', 'before', pointAt(1))
    bench.storage.begin()
    bench.put('a', 'gone')
    expect(() => bench.storage.write((tx) => loseTransaction(tx), new HookRecorder())).toThrow(
      expect.objectContaining({ code: 'TRANSACTION_LOST' }),
    )
    bench.storage.rollback()
    expect(bench.under.read('a')).toBe('before')
    bench.commit('a', 'after', pointAt(2))
    expect(bench.under.read('a')).toBe('after')
    expect(bench.storage.applied).toEqual(pointAt(2))
  })

  test('a body that catches the error of a lost transaction does not save it', (context) => {
    const { loseTransaction } = bench.under
    if (loseTransaction === undefined) {
      context.skip()
      return
    }
    bench.storage.begin()
    bench.put('a', 'gone')
    const swallow = (tx: T): void => {
      try {
        loseTransaction(tx)
      } catch {
        // A user's callback may do this.
      }
    }
    expect(() => bench.storage.write(swallow, new HookRecorder())).toThrow(
      expect.objectContaining({ code: 'TRANSACTION_LOST' }),
    )
    bench.storage.rollback()
    expect(bench.under.read('a')).toBeUndefined()
  })

  test('a deferred constraint fails the write that violates it, not the commit', (context) => {
    const { violateDeferred } = bench.under
    if (violateDeferred === undefined) {
      context.skip()
      return
    }
    bench.storage.begin()
    bench.put('a', 'kept')
    const violate = (tx: T): void => {
      bench.under.put(tx, 'b', 'gone')
      violateDeferred(tx)
    }
    expect(() => bench.storage.write(violate, new HookRecorder())).toThrow(Error)
    bench.put('c', 'kept')
    bench.storage.commit()
    expect(['a', 'b', 'c'].map((key) => bench.under.read(key))).toEqual(['kept', undefined, 'kept'])
  })
}

/** Of a storage that can keep a write open across turns. */
export function openWriteTests<C, T>(bench: StorageBench<C, T>): void {
  const open = (
    used: () => void = () => {},
  ): { readonly recorder: HookRecorder; readonly write: OpenWrite<T> } => {
    const recorder = new HookRecorder()
    bench.storage.begin()
    const write = bench.storage.openWrite?.(recorder, used)
    return { recorder, write: write as OpenWrite<T> }
  }

  test('a write may be open across turns, and is between the hooks of the recorder', async ({ skip }) => {
    if (bench.storage.openWrite === undefined) skip()
    let uses = 0
    const { recorder, write } = open(() => uses++)
    bench.under.put(write.tx, 'a', 'first')
    await new Promise<void>((resolve) => void setImmediate(resolve))
    expect(bench.under.get(write.tx, 'a')).toBe('first')
    expect(bench.under.read('a')).toBeUndefined()
    bench.under.put(write.tx, 'a', 'second')
    expect(uses).toBeGreaterThanOrEqual(3)
    write.end((tx) => {
      bench.under.put(tx, 'b', 'last')
      recorder.calls.push('last')
    })
    bench.storage.commit()
    expect(['a', 'b'].map((key) => bench.under.read(key))).toEqual(['second', 'last'])
    expect(recorder.calls).toEqual(['beginWrite', 'last', 'endWrite'])
    expect(() => bench.under.put(write.tx, 'a', 'late')).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  })

  test('one that is abandoned leaves nothing, and tells its users why', ({ skip }) => {
    if (bench.storage.openWrite === undefined) skip()
    const { recorder, write } = open()
    bench.under.put(write.tx, 'a', 'gone')
    const reason = new UnderstudyError('NOT_WRITTEN', 'too long')
    write.abandon(reason)
    bench.storage.rollback()
    expect(() => bench.under.put(write.tx, 'a', 'late')).toThrow(reason)
    expect(recorder.calls).toEqual(['beginWrite', 'abandonWrite'])
    bench.storage.begin()
    bench.put('b', 'next')
    bench.storage.commit()
    expect(['a', 'b'].map((key) => bench.under.read(key))).toEqual([undefined, 'next'])
  })

  test('one whose last part throws is undone', ({ skip }) => {
    if (bench.storage.openWrite === undefined) skip()
    const { recorder, write } = open()
    bench.under.put(write.tx, 'a', 'gone')
    const boom = new Error('boom')
    expect(() =>
      write.end(() => {
        throw boom
      }),
    ).toThrow(boom)
    bench.storage.rollback()
    expect(bench.under.read('a')).toBeUndefined()
    expect(recorder.calls).toEqual(['beginWrite', 'abandonWrite'])
  })

  test('one that the engine ended is TRANSACTION_LOST at its end', ({ skip }) => {
    const { loseTransaction } = bench.under
    if (bench.storage.openWrite === undefined || loseTransaction === undefined) return skip()
    const { write } = open()
    bench.under.put(write.tx, 'a', 'gone')
    expect(() => loseTransaction(write.tx)).toThrow(/./)
    expect(() => write.end(() => {})).toThrow(expect.objectContaining({ code: 'TRANSACTION_LOST' }))
    bench.storage.rollback()
    expect(bench.under.read('a')).toBeUndefined()
  })

  test('one that leaves a deferred constraint violated fails at its end', ({ skip }) => {
    const { violateDeferred } = bench.under
    if (bench.storage.openWrite === undefined || violateDeferred === undefined) return skip()
    const { write } = open()
    bench.under.put(write.tx, 'a', 'gone')
    violateDeferred(write.tx)
    expect(() => write.end(() => {})).toThrow(expect.objectContaining({ code: 'NOT_WRITTEN' }))
    bench.storage.rollback()
    expect(bench.under.read('a')).toBeUndefined()
  })
}
