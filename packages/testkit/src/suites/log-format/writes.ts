/** Writes of the suite's features. */
import type { DatabaseSync } from 'node:sqlite'
import type { WriteTransaction } from '@understudy/contracts'
import type { FeatureWrite } from './types.ts'

/** A write that runs this and then throws, so that nothing of it stays. */
export function fails(sql: string): FeatureWrite {
  return {
    fails: true,
    run: (tx) => {
      tx.exec(sql)
      throw new Error('rolled back on purpose')
    },
  }
}

/** A statement that fails inside a write which goes on. */
export function caught(sql: string, then: string): FeatureWrite {
  return {
    run: (tx) => {
      try {
        tx.exec(sql)
      } catch {
        // The statement failed alone; the write goes on.
      }
      tx.exec(then)
    },
  }
}

/** A write that needs more than SQL text. */
export function calls(run: (tx: WriteTransaction) => void): FeatureWrite {
  return { run }
}

/** Registers the function `noise`, which returns another text on each call and on each node. */
export function withNoise(database: DatabaseSync): void {
  let calls = 0
  database.function('noise', () => {
    calls += 1
    return `${String(database.location())} ${calls}`
  })
}
