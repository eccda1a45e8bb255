/** The model check of changes of the ack rule: every interleaving, with a crash of the leader at each moment. */
import { describe, expect, test } from 'vitest'
import { walk } from '../src/model/ack-model.ts'
import { COURSES } from '../src/model/courses.ts'

describe('whoever may elect holds every acknowledged commit', () => {
  test.each(Object.entries(COURSES))('%s', (_, course) => {
    const { states, elections } = walk(course)
    expect(states).toBeGreaterThan(50)
    expect(elections).toBeGreaterThan(states / 10)
  })
})
