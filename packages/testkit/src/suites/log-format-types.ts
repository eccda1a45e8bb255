/** What the log format suite is made of: features, refusals, abilities. */
import type { DatabaseSync } from 'node:sqlite'
import type { ErrorCode, WriteTransaction } from '@understudy/contracts'

/** One write of a group; a throw is expected exactly when `fails` says so. */
export interface FeatureWrite {
  readonly run: (tx: WriteTransaction) => void
  readonly fails?: boolean
}

/** A feature of SQLite and how to use it. SQL text stands for a write that runs it. */
export interface Feature {
  /** Stable: the README's table is made from it. */
  readonly name: string
  /** Left out where the format says it does not carry this. */
  readonly needs?: keyof LogFormatSupport
  readonly setup?: (database: DatabaseSync) => void
  /** What is there already when the copy of the leader is taken. */
  readonly given?: string
  /** Groups of writes. */
  readonly groups: readonly (readonly (string | FeatureWrite)[])[]
  /** What the follower does once it leads. */
  readonly promoted?: string
  /** A query whose rows must be these on every database: so that a feature which did nothing is noticed. */
  readonly check: { readonly sql: string; readonly rows: readonly (readonly unknown[])[] }
}

/** A statement that a format without the ability must refuse, with the code. */
export interface Refusal {
  readonly name: string
  readonly lacks: keyof LogFormatSupport
  readonly given?: string
  readonly run: (tx: WriteTransaction) => void
  readonly code: ErrorCode
}

/** Abilities in which formats differ. */
export interface LogFormatSupport {
  /** Tables without PRIMARY KEY. */
  readonly keylessTables: boolean
  /** NULL in a PRIMARY KEY column. */
  readonly nullKeys: boolean
}
