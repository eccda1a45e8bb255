import type { LogPoint } from '@understudy/contracts'
import type { FrozenView } from '@understudy/sqlite'
import { SimulatedClock } from '@understudy/testkit'
import { expect, test } from 'vitest'
import { FrozenViews } from '../src/frozen-views.ts'
import { FROZEN_VIEWS_MAX, FROZEN_VIEW_MS } from '../src/options.ts'

const at = (lsn: number): LogPoint => ({ epoch: 1, lsn, crc: 0 })

/** The part of a view that is used here, with what became of it. */
class View {
  closed = 0
  readonly digesting = Promise.withResolvers<void>()

  async digest(): Promise<{ table: string; rows: number; sha256: string }[]> {
    await this.digesting.promise
    return [{ table: 'note', rows: 2, sha256: 'ab' }]
  }

  rows(table: string, offset: number): { key: string[]; columns: string[]; rows: number[][] } {
    return { key: [table], columns: ['', 'id'], rows: [[offset]] }
  }

  async close(): Promise<void> {
    this.closed += 1
  }

  freeze = (): FrozenView => this as unknown as FrozenView
}

test('a view is digested once, as of its marker, and closed', async () => {
  const views = new FrozenViews(new SimulatedClock())
  const view = new View()
  views.keep(at(7), view.freeze)
  await expect(views.digest(at(8))).rejects.toMatchObject({ code: 'POSITION_LOST', position: at(8) })
  const digest = views.digest(at(7))
  await expect(views.digest(at(7))).rejects.toMatchObject({ code: 'POSITION_LOST' })
  view.digesting.resolve()
  expect(await digest).toEqual([{ table: 'note', rows: 2, digest: 'ab' }])
  expect(view.closed).toBe(1)
  await expect(views.digest(at(7))).rejects.toMatchObject({ code: 'POSITION_LOST' })
})

test('a view that nobody asks for goes after a while, one that is being digested stays', async () => {
  const clock = new SimulatedClock()
  const views = new FrozenViews(clock)
  const [idle, busy] = [new View(), new View()]
  views.keep(at(1), idle.freeze)
  views.keep(at(2), busy.freeze)
  const digest = views.digest(at(2))
  await clock.advance(FROZEN_VIEW_MS + 1)
  expect([idle.closed, busy.closed]).toEqual([1, 0])
  views.close()
  expect(busy.closed).toBe(0)
  busy.digesting.resolve()
  await digest
  expect(busy.closed).toBe(1)
  expect(clock.pending).toBe(0)
})

test('the oldest view makes room for a new one, unless all are in use', async () => {
  const clock = new SimulatedClock()
  const views = new FrozenViews(clock)
  const all = Array.from({ length: FROZEN_VIEWS_MAX + 1 }, () => new View())
  all.forEach((view, i) => views.keep(at(i), view.freeze))
  expect(all.map(({ closed }) => closed)).toEqual([1, 0, 0, 0, 0])
  const digests = all.slice(1).map((_, i) => views.digest(at(i + 1)))
  const late = new View()
  views.keep(at(9), late.freeze)
  for (const view of all) view.digesting.resolve()
  await Promise.all(digests)
  await expect(views.digest(at(9))).rejects.toMatchObject({ code: 'POSITION_LOST' })
})

test('a marker that comes again replaces its view, and one that cannot be frozen leaves no timer', async () => {
  const clock = new SimulatedClock()
  const views = new FrozenViews(clock)
  const [first, second] = [new View(), new View()]
  views.keep(at(1), first.freeze)
  views.keep(at(1), second.freeze)
  expect([first.closed, second.closed]).toEqual([1, 0])
  views.close()
  expect(() =>
    views.keep(at(2), () => {
      throw new Error('no reader')
    }),
  ).toThrow('no reader')
  expect(clock.pending).toBe(0)
})

test('a view that its digest keeps answers for rows until it is let go, or nobody asked for a while', async () => {
  const clock = new SimulatedClock()
  const views = new FrozenViews(clock)
  const [released, forgotten, once] = [new View(), new View(), new View()]
  for (const [index, view] of [released, forgotten, once].entries()) {
    views.keep(at(index), view.freeze)
    view.digesting.resolve()
  }
  expect(() => views.rows(at(0), 'note', 0)).toThrow(expect.objectContaining({ code: 'POSITION_LOST' }))
  for (const lsn of [0, 1]) await views.digest(at(lsn), { keep: true })
  await views.digest(at(2))
  expect(() => views.rows(at(2), 'note', 0)).toThrow(expect.objectContaining({ code: 'POSITION_LOST' }))
  await expect(views.digest(at(0))).rejects.toMatchObject({ code: 'POSITION_LOST' })
  expect(views.rows(at(0), 'note', 5)).toEqual({ key: ['note'], columns: ['', 'id'], rows: [[5]] })
  views.release(at(0))
  expect(released.closed).toBe(1)
  await clock.advance(FROZEN_VIEW_MS - 1)
  expect(views.rows(at(1), 'note', 6).rows).toEqual([[6]])
  await clock.advance(FROZEN_VIEW_MS - 1)
  expect(forgotten.closed).toBe(0)
  await clock.advance(1)
  expect(forgotten.closed).toBe(1)
  expect(() => views.rows(at(1), 'note', 0)).toThrow(expect.objectContaining({ code: 'POSITION_LOST' }))
})

test('a digest that ends after the views were closed keeps nothing', async () => {
  const views = new FrozenViews(new SimulatedClock())
  const view = new View()
  views.keep(at(1), view.freeze)
  const digest = views.digest(at(1), { keep: true })
  views.close()
  view.digesting.resolve()
  await digest
  expect(view.closed).toBe(1)
})
