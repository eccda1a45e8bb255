/** What a write callback of a `MemoryStorage` gets; valid until the callback returns. */
import { UnderstudyError } from '@understudy/contracts'
import type { MemoryConnection } from './connection.ts'

export class MemoryTransaction {
  #connection: MemoryConnection | undefined
  readonly #lose: () => void

  constructor(connection: MemoryConnection, lose: () => void) {
    this.#connection = connection
    this.#lose = lose
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
  end(): void {
    this.#connection = undefined
  }

  #use(): MemoryConnection {
    if (this.#connection === undefined) {
      throw new UnderstudyError(
        'CLOSED',
        'The write is over; its transaction object cannot be used any more.',
      )
    }
    return this.#connection
  }
}
