/** What a write callback of a `MemoryStorage` gets; valid until the callback returns. */
import { UnderstudyError } from '@understudy/contracts'
import type { MemoryConnection } from './connection.ts'

export class MemoryTransaction {
  #connection: MemoryConnection | undefined
  readonly #lose: () => void
  readonly #used: () => void
  #over: unknown

  constructor(connection: MemoryConnection, lose: () => void, used: () => void = () => undefined) {
    this.#connection = connection
    this.#lose = lose
    this.#used = used
  }

  get(key: string): string | undefined {
    return this.#use().get(key)
  }

  set(key: string, value: string): void {
    this.#use().set(key, value)
  }

  /** True when there was such a key. */
  delete(key: string): boolean {
    return this.#use().delete(key)
  }

  /** Ends the whole transaction, as `INSERT OR ROLLBACK` or a full disk does in SQLite. */
  lose(): never {
    this.#use()
    this.#lose()
    this.end()
    throw new UnderstudyError('STORAGE_FAILED', 'The engine rolled the transaction back (injected).')
  }

  /** Used by the storage: the callback is over. */
  end(reason?: unknown): void {
    this.#connection = undefined
    this.#over = reason
  }

  #use(): MemoryConnection {
    if (this.#connection === undefined) {
      if (this.#over !== undefined) throw this.#over
      throw new UnderstudyError(
        'CLOSED',
        'The write is over; its transaction object cannot be used any more.',
      )
    }
    this.#used()
    return this.#connection
  }
}
