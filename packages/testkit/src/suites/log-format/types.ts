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
  /** Followers apply in another second of the wall clock than the leader wrote in. */
  readonly isAppliedLater?: boolean
  /** Some of it cannot be undone from the records alone, in a format that undoes any. */
  readonly undo?: 'pages'
  /** What the follower does once it leads. */
  readonly promoted?: string
  /** A query whose rows must be these on every database: so that a feature which did nothing is noticed. */
  readonly check: { readonly sql: string; readonly rows: readonly (readonly unknown[])[] }
}

/** A use of a feature that a format without the ability must refuse, with the code, leaving no trace. */
export interface Refusal {
  readonly name: string
  /** Name of the feature. */
  readonly of: string
  readonly lacks: keyof LogFormatSupport
  readonly setup?: (database: DatabaseSync) => void
  readonly given?: string
  readonly run: (tx: WriteTransaction) => void
  readonly code: ErrorCode
}

/** Abilities in which formats differ by nature. */
export interface LogFormatSupport {
  /** Tables without PRIMARY KEY. */
  readonly keylessTables: boolean
  /** NULL in a PRIMARY KEY column. */
  readonly nullKeys: boolean
  /** Rowids that no column shows are the leader's. Nothing is refused without it. */
  readonly hiddenRowids: boolean
  /** Statements may name rowids that no column shows. */
  readonly namedRowids: boolean
  /** Functions of the user that the format was not told of, whose results may differ. */
  readonly undeclaredFunctions: boolean
  /** Statements whose effect depends on the order in which SQLite happens to visit rows. */
  readonly unorderedEffects: boolean
  /** Ids that SQLite draws at random, once a table holds the largest one there is. */
  readonly drawnIds: boolean
  /** Database files end byte for byte as the leader's. Nothing is refused without it. */
  readonly equalFiles: boolean
}
