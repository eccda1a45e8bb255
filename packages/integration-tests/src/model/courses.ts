/** The changes that the model walks: each kind alone, and several after each other. */
import { any, first, type AckRule } from '@understudy/replication'
import type { Course } from './ack-model.ts'

const rule = (count: number, ...names: readonly string[]): AckRule => ({
  level: 'durable',
  of: any(count, names),
})
const LOCAL: AckRule = { level: 'local' }
const B_C_D = ['b', 'c', 'd']

function course(rules: readonly AckRule[], more: Partial<Course> = {}): Course {
  return { followers: B_C_D, rules, restarts: [], commits: 3, restartsMax: 0, ...more }
}

export const COURSES: Readonly<Record<string, Course>> = {
  'grow: more members': course([rule(1, 'b'), rule(1, 'b', 'c')]),
  'grow: more acks': course([rule(1, 'b', 'c'), rule(2, 'b', 'c')]),
  'grow: both': course([rule(1, 'b'), rule(2, 'b', 'c', 'd')]),
  'shrink: fewer members': course([rule(2, 'b', 'c', 'd'), rule(2, 'b', 'c')]),
  'shrink: fewer acks': course([rule(2, 'b', 'c', 'd'), rule(1, 'b', 'c', 'd')]),
  'shrink: both': course([rule(3, 'b', 'c', 'd'), rule(1, 'd')]),
  'replace: one by another': course([rule(1, 'b'), rule(1, 'c')]),
  'replace: one of two': course([rule(2, 'b', 'c'), rule(2, 'c', 'd')]),
  'replace: FIRST': course([
    { level: 'durable', of: first(1, ['b', 'c']) },
    { level: 'durable', of: first(1, ['c', 'd']) },
  ]),
  'grow, replace, shrink': course([rule(1, 'b'), rule(2, 'b', 'c'), rule(2, 'c', 'd'), rule(1, 'd')], {
    commits: 2,
  }),
  'replace, with starts of the leader': course([rule(1, 'b'), rule(1, 'c')], {
    followers: ['b', 'c'],
    restarts: [rule(1, 'b'), rule(1, 'c'), rule(2, 'b', 'c')],
    commits: 1,
    restartsMax: 2,
  }),
  'grow, with starts of the leader': course([rule(1, 'b'), rule(2, 'b', 'c')], {
    restarts: [rule(1, 'b'), rule(2, 'b', 'c'), rule(2, 'c', 'd')],
    commits: 2,
    restartsMax: 1,
  }),
  'from and to an asynchronous cluster, with starts': course([rule(1, 'b'), LOCAL, rule(1, 'c')], {
    followers: ['b', 'c'],
    restarts: [rule(1, 'b'), LOCAL],
    commits: 2,
    restartsMax: 1,
  }),
}
