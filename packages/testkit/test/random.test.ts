import { describe, expect, test } from 'vitest'
import { drawSpan, SeededRandom, Trace } from '@understudy/testkit'

describe('seeded random', () => {
  test('the sequence of a seed is fixed for ever: recorded failures must replay', () => {
    const random = new SeededRandom(42)
    expect([random.uint32(), random.uint32(), random.uint32()]).toMatchInlineSnapshot(`
      [
        655638118,
        339835105,
        3034291834,
      ]
    `)
    expect(new SeededRandom('42').seed).toBe('42')
  })

  test('a fork depends on seed and label, not on draws made before', () => {
    const early = new SeededRandom(1).fork('disk')
    const parent = new SeededRandom(1)
    parent.uint32()
    const late = parent.fork('disk')
    const sequence = (random: SeededRandom): number[] => Array.from({ length: 5 }, () => random.uint32())
    expect(sequence(late)).toEqual(sequence(early))
    expect(sequence(new SeededRandom(1).fork('net'))).not.toEqual(sequence(new SeededRandom(1).fork('disk')))
    expect(sequence(new SeededRandom(2).fork('disk'))).not.toEqual(sequence(new SeededRandom(1).fork('disk')))
  })

  test('every bit is set half of the time, also over neighbouring seeds', () => {
    for (const draw of [
      (() => {
        const random = new SeededRandom(7)
        return () => random.uint32()
      })(),
      (() => {
        let seed = 0
        return () => new SeededRandom(seed++).uint32()
      })(),
    ]) {
      const set = Array.from({ length: 32 }, () => 0)
      for (let count = 0; count < 4000; count++) {
        const word = draw()
        for (let bit = 0; bit < 32; bit++) set[bit] = (set[bit] ?? 0) + ((word >>> bit) & 1)
      }
      // Six standard deviations of 4,000 fair coins.
      for (const count of set) expect(Math.abs(count - 2000)).toBeLessThan(190)
    }
  })

  test('below is uniform and stays below', () => {
    const random = new SeededRandom(3)
    const counts = Array.from({ length: 10 }, () => 0)
    for (let count = 0; count < 10_000; count++) {
      const drawn = random.below(10)
      counts[drawn] = (counts[drawn] ?? 0) + 1
    }
    expect(counts).toHaveLength(10)
    for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(180)
    expect(random.below(1)).toBe(0)
    expect(() => random.below(0)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
    for (let count = 0; count < 100; count++) expect(random.below(2 ** 53)).toBeLessThan(2 ** 53)
  })

  test('chance, between, pick and spans keep to what they promise', () => {
    const random = new SeededRandom(4)
    expect(random.chance(0)).toBe(false)
    expect(random.chance(1)).toBe(true)
    const drawn = new Set(Array.from({ length: 200 }, () => random.between(3, 5)))
    expect([...drawn].sort((a, b) => a - b)).toEqual([3, 4, 5])
    expect(new Set(Array.from({ length: 100 }, () => random.pick(['a', 'b'])))).toEqual(new Set(['a', 'b']))
    expect(() => random.pick([])).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
    for (let count = 0; count < 100; count++) {
      const span = drawSpan(random, { min: 2, max: 4 })
      expect(span).toBeGreaterThanOrEqual(2)
      expect(span).toBeLessThan(4)
    }
    expect(drawSpan(random, 7)).toBe(7)
  })

  test('shuffle keeps every item, and reaches every order', () => {
    const random = new SeededRandom(5)
    const orders = new Set(Array.from({ length: 300 }, () => random.shuffle(['a', 'b', 'c']).join('')))
    expect([...orders].sort()).toEqual(['abc', 'acb', 'bac', 'bca', 'cab', 'cba'])
  })

  test('bytes have the length asked for and no byte that never changes', () => {
    const random = new SeededRandom(6)
    for (const length of [0, 1, 2, 3, 4, 5, 1001]) expect(random.bytes(length)).toHaveLength(length)
    expect(new Set(random.bytes(10_000)).size).toBe(256)
  })
})

describe('trace', () => {
  test('tells order and content apart, and keeps the last lines', () => {
    const hashOf = (...lines: string[]): string => {
      const trace = new Trace()
      for (const line of lines) trace.add(line)
      return trace.hash
    }
    expect(hashOf('a', 'b')).toBe(hashOf('a', 'b'))
    expect(new Set([hashOf('a', 'b'), hashOf('b', 'a'), hashOf('ab'), hashOf('a\nb')]).size).toBe(4)
    const trace = new Trace({ linesMax: 3 })
    for (let line = 0; line < 100; line++) trace.add(`${line}`)
    expect(trace.lines).toEqual(['97', '98', '99'])
  })
})
