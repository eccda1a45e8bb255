/** Why a statement has the verdict that it has: stable codes, each with one sentence. */

/** What replaying a statement means: as it is | with results of functions | not at all | only here | never run in a write. */
export type SafetyVerdict = 'safe' | 'context' | 'unsafe' | 'local' | 'refused'

export const SAFETY_REASONS = {
  // context: carried along
  RANDOM: 'It calls random() or randomblob(); the results travel with it.',
  MOMENT: 'It may look at the clock or the time zone; what it saw travels with it.',
  CONNECTION_COUNTER:
    'It asks for last_insert_rowid() or changes(), which belong to the connection; the answers travel with it.',
  // unsafe
  USER_FUNCTION:
    'It calls a function that was registered on the connection and not declared to do the same on every node.',
  FLOAT_MATH: 'It calls a function of the C library whose last digits differ between machines.',
  LOCAL_RESOURCE: 'It calls a function that reads or writes files, libraries or the place of a row.',
  CONNECTION_STATE: 'It calls total_changes(), which counts what this connection did and cannot be captured.',
  NODE_STATE:
    'It reads what each node has for itself: settings, pages, schema rows or the vocabulary of a text index.',
  STATISTICS: 'It reads what ANALYZE gathered, which may include tables that only this node has.',
  VIRTUAL_TABLE: 'It uses a virtual table that need not hold or do the same on every node.',
  SQLITE_BUILD: 'Its result depends on the build of SQLite, and nodes with another one are allowed.',
  LIMIT_WITHOUT_ORDER:
    'It takes some of several rows (LIMIT, or a subquery as a value) without an order that decides which.',
  UNORDERED_IDS:
    'It inserts several rows in no particular order, and SQLite chooses their ids in that order.',
  UNORDERED_AGGREGATE: 'It strings rows together (group_concat, json_group_array) in no particular order.',
  UNORDERED_SUM:
    'It adds up numbers of a table without a key in no particular order; reals then round differently.',
  UNORDERED_CONTEXT:
    'It calls random() or the like for each row of a table without a key, so that the order decides who gets what.',
  UNORDERED_CONFLICT:
    'It changes rows of a table without a key in no particular order, and which of them conflict depends on that.',
  BARE_COLUMN:
    'It takes a column beside an aggregate that is not grouped by, from whichever row comes first.',
  WINDOW_ORDER: 'It uses a window function, where rows of equal rank may change places.',
  UPDATE_FROM: 'It is an UPDATE ... FROM in which several rows may match, and any one of them is taken.',
  HIDDEN_ROWID:
    'It names the rowid of a table without INTEGER PRIMARY KEY, which VACUUM and other formats change.',
  TEMP_TRIGGER: 'A TEMP trigger of this connection fires, which other nodes do not have.',
  DRAWN_IDS: 'The largest id there can be is taken, so SQLite draws ids at random.',
  NOT_ANALYSED: 'SQLite could not explain the statement.',
  // local
  LOCAL_PRAGMA: 'It is a PRAGMA that reads, or tidies this file alone.',
  REINDEX: 'REINDEX rebuilds indexes of this file and changes no data.',
  // refused
  TRANSACTION: 'Each write is a transaction of its own.',
  ATTACH: 'Only the one database of the node is replicated.',
  VACUUM: 'VACUUM cannot be part of a transaction.',
  TEMP: 'A temporary table, view or trigger exists on this connection alone.',
  OWN_TABLE: 'The tables of the project belong to the node.',
  SETTING: 'The PRAGMA would change how statements act on this node alone, or how its file is built.',
} as const

export type SafetyReasonCode = keyof typeof SAFETY_REASONS

export interface SafetyReason {
  readonly code: SafetyReasonCode
  /** What in the statement it is: a function, a table. */
  readonly detail: string
}

export interface Safety {
  readonly verdict: SafetyVerdict
  readonly reasons: readonly SafetyReason[]
  /** Every function that it reaches, by name, through DEFAULTs, triggers, CHECKs and views too. */
  readonly functions: readonly string[]
}
