/**
 * What a write gets that stays open across turns of the event loop: as a write callback's, but each call puts on the guard by itself,
 * because between two of them the connection is the node's.
 *
 * Decides: when the guard is on, what a late user is told. Leaves to others: the statements (`transactions.ts`).
 */
import type { Parameters, Row, RunResult, Table, TableLimits, WriteTransaction } from '@understudy/contracts'
import type { Guard } from './guard.ts'

export class GuardedWriteTransaction implements WriteTransaction {
  readonly #inner: WriteTransaction
  readonly #guard: Guard
  readonly #used: () => void
  #over: { readonly reason: unknown } | undefined

  constructor(inner: WriteTransaction, guard: Guard, used: () => void) {
    this.#inner = inner
    this.#guard = guard
    this.#used = used
  }

  all(sql: string, parameters?: Parameters): Row[] {
    return this.#run(() => this.#inner.all(sql, parameters))
  }

  get(sql: string, parameters?: Parameters): Row | undefined {
    return this.#run(() => this.#inner.get(sql, parameters))
  }

  table(sql: string, parameters?: Parameters, limits?: TableLimits): Table {
    return this.#run(() => this.#inner.table(sql, parameters, limits))
  }

  run(sql: string, parameters?: Parameters): RunResult {
    return this.#run(() => this.#inner.run(sql, parameters))
  }

  exec(sql: string): void {
    this.#run(() => this.#inner.exec(sql))
  }

  /** It was undone: later calls throw `reason`. */
  abandon(reason: unknown): void {
    this.#over = { reason }
  }

  #run<R>(call: () => R): R {
    if (this.#over !== undefined) throw this.#over.reason
    this.#used()
    return this.#guard.enforce(call)
  }
}
