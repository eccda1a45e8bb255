/** What the two threads of a keeper say to each other. */
import {
  UnderstudyError,
  type AcquireOptions,
  type CoordinatorRecipe,
  type ErrorCode,
} from '@understudy/contracts'
import type { LossReason } from '../errors.ts'
import type { KeepingTimes } from './keeping.ts'

export interface WorkerInput {
  readonly recipe: CoordinatorRecipe
}

export type ToWorker =
  | {
      readonly kind: 'acquire'
      readonly id: number
      readonly options: Omit<AcquireOptions, 'signal'>
      readonly times: KeepingTimes
      readonly memory: SharedArrayBuffer
    }
  /** The main thread has ended it: no further renewals. With `release` others may take it at once. */
  | { readonly kind: 'drop'; readonly id: number; readonly release?: { readonly timeoutMs: number } }
  | { readonly kind: 'close' }

export type FromWorker =
  | { readonly kind: 'ready' }
  | { readonly kind: 'closed' }
  | { readonly kind: 'acquired'; readonly id: number; readonly grant: string }
  | { readonly kind: 'dropped'; readonly id: number; readonly error?: PlainError }
  | { readonly kind: 'refused'; readonly id: number; readonly error: PlainError }
  | { readonly kind: 'lost'; readonly id: number; readonly reason: LossReason }
  | { readonly kind: 'failed'; readonly error: PlainError }

/** An error without its class, which does not survive the way between threads. */
export interface PlainError {
  readonly code: ErrorCode
  readonly message: string
  readonly details: Readonly<Record<string, unknown>>
}

export function plainError(error: unknown): PlainError {
  const code = isCoded(error) ? error.code : 'COORDINATOR_UNAVAILABLE'
  const message = error instanceof Error ? error.message : String(error)
  const details = isCoded(error) ? error.details : {}
  // Only what is certain to be copied.
  const plain = Object.entries(details).filter(([, value]) =>
    ['string', 'number', 'boolean'].includes(typeof value),
  )
  return { code, message, details: Object.fromEntries(plain) }
}

export function revivedError({ code, message, details }: PlainError): UnderstudyError {
  return new UnderstudyError(code, message, details)
}

function isCoded(error: unknown): error is UnderstudyError {
  return error instanceof UnderstudyError
}
