/** Histories that are right, from a seed: clients of a perfect store, each call of which takes a while and happens somewhere in it. */
import { SeededRandom } from '../../src/random.ts'
import type { Operation, Scalar } from '../../src/history/linearizability.ts'
import type { ModelName } from './brute-force.ts'

export interface HistoryShape {
  readonly operations: number
  readonly seed: number
  readonly clients?: number
  readonly keys?: number
  /** Of each hundred writes: how many get no answer, and how many are refused. */
  readonly unknown?: number
  /** Of each thousand operations, how many read. */
  readonly reads?: number
  readonly refused?: number
}

/** Reads of sets and lists are few, as each holds everything. */
export function simulatedHistory(model: ModelName, shape: HistoryShape): Operation[] {
  const isRegister = model === 'register'
  const { operations: count, seed, clients = 8, keys = isRegister ? 8 : 1, unknown = 3, refused = 3 } = shape
  const { reads = isRegister ? 500 : 5 } = shape
  const random = new SeededRandom(seed)
  const states = new Map<string, Scalar | Scalar[]>()
  const planned: { operation: Operation; happensAtMs: number }[] = []
  const free = Array.from({ length: clients }, () => 0)
  for (let id = 0; id < count; id++) {
    const client = free.indexOf(Math.min(...free))
    const invokedAtMs = free[client]! + random.below(1000) / 1000
    const happensAtMs = invokedAtMs + random.below(4000) / 1000
    const completedAtMs = happensAtMs + random.below(4000) / 1000
    free[client] = completedAtMs
    const isRead = random.below(1000) < reads
    const chance = random.below(100)
    const outcome = isRead || chance >= unknown + refused ? 'ok' : chance < unknown ? 'unknown' : 'fail'
    const kind = isRead ? 'read' : isRegister ? 'write' : 'add'
    const operation: Operation = {
      id,
      process: `c${client}`,
      key: `k${random.below(keys)}`,
      kind,
      ...(!isRead && { value: id }),
      outcome,
      invokedAtMs,
      completedAtMs: outcome === 'unknown' ? Infinity : completedAtMs,
    }
    // Half of those without an answer happen: at once or much later.
    const never = outcome === 'fail' || (outcome === 'unknown' && random.below(2) === 0)
    const lateMs = outcome === 'unknown' ? random.below(100) : 0
    planned.push({ operation, happensAtMs: never ? Infinity : happensAtMs + lateMs })
  }
  planned.sort((a, b) => a.happensAtMs - b.happensAtMs)
  return planned
    .map(({ operation, happensAtMs }) =>
      happensAtMs === Infinity ? operation : happen(model, states, operation),
    )
    .sort((a, b) => a.id - b.id)
}

function happen(model: ModelName, states: Map<string, Scalar | Scalar[]>, operation: Operation): Operation {
  const { key, kind, value = null } = operation
  if (kind === 'write') states.set(key, value)
  if (kind === 'add') states.set(key, [...((states.get(key) as Scalar[] | undefined) ?? []), value])
  if (kind !== 'read') return operation
  return { ...operation, output: states.get(key) ?? (model === 'register' ? null : []) }
}
