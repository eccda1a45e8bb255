/**
 * What the functions of SQLite mean for a statement that runs again elsewhere.
 *
 * The tables come from SQLite's own list (pragma_function_list) and its documentation; the flag "deterministic" there is
 * no help for dates, which are deterministic only as long as nobody says 'now'.
 */

/** A function that is overridden: its results are captured and replayed. The number stands in payloads; never reused. */
export interface CapturedFunction {
  readonly code: number
  readonly name: string
  /** Arguments that SQLite declares; -1: any number. */
  readonly arguments: number
  readonly kind: 'random' | 'moment' | 'date' | 'connection'
}

export const CAPTURED_FUNCTIONS: readonly CapturedFunction[] = [
  { code: 1, name: 'random', arguments: 0, kind: 'random' },
  { code: 2, name: 'randomblob', arguments: 1, kind: 'random' },
  { code: 3, name: 'current_timestamp', arguments: 0, kind: 'moment' },
  { code: 4, name: 'current_date', arguments: 0, kind: 'moment' },
  { code: 5, name: 'current_time', arguments: 0, kind: 'moment' },
  { code: 6, name: 'date', arguments: -1, kind: 'date' },
  { code: 7, name: 'time', arguments: -1, kind: 'date' },
  { code: 8, name: 'datetime', arguments: -1, kind: 'date' },
  { code: 9, name: 'julianday', arguments: -1, kind: 'date' },
  { code: 10, name: 'unixepoch', arguments: -1, kind: 'date' },
  { code: 11, name: 'strftime', arguments: -1, kind: 'date' },
  { code: 12, name: 'timediff', arguments: 2, kind: 'date' },
  { code: 13, name: 'last_insert_rowid', arguments: 0, kind: 'connection' },
  { code: 14, name: 'changes', arguments: 0, kind: 'connection' },
]

/** How EXPLAIN writes a function: `date(-1)`. */
export function signature(name: string, argumentCount: number): string {
  return `${name}(${argumentCount})`
}

/** Of the C library of this machine, which rounds as it likes. `sqrt`, `ceil`, `floor`, `trunc` and `mod` are exact everywhere. */
export const FLOAT_MATH: ReadonlySet<string> = new Set(
  (
    'acos acosh asin asinh atan atan2 atanh cos cosh exp ln log log10 log2 pow power sin sinh tan tanh ' +
    'geopoly_regular geopoly_xform'
  ).split(' '),
)

/** Read or write what is beside the database: files, libraries, where a row lies. */
export const LOCAL_RESOURCES: ReadonlySet<string> = new Set(
  'load_extension readfile writefile edit fts3_tokenizer zipfile lsdir sqlite_offset sqlite_log uuid shell_add_schema'.split(
    ' ',
  ),
)

/** Count what this connection did, and cannot be captured. */
export const CONNECTION_STATE: ReadonlySet<string> = new Set(['total_changes'])

/** Tell one build of SQLite from another. */
export const BUILD: ReadonlySet<string> = new Set([
  'sqlite_version',
  'sqlite_source_id',
  'sqlite_compileoption_get',
  'sqlite_compileoption_used',
])

/** Of full-text search and R-Trees: the same in the same build. */
export const VIRTUAL: ReadonlySet<string> = new Set(
  (
    'bm25 fts5 fts5_get_locale fts5_insttoken fts5_locale geopoly_debug highlight match matchinfo offsets optimize ' +
    'rtreecheck rtreedepth rtreenode snippet'
  ).split(' '),
)

/** Aggregates whose result depends on the order of the rows. */
export const ORDERED_AGGREGATES: ReadonlySet<string> = new Set(
  'group_concat string_agg json_group_array jsonb_group_array json_group_object jsonb_group_object'.split(
    ' ',
  ),
)

/** Sums: of floating-point numbers the order decides about the last digits. */
export const SUMS: ReadonlySet<string> = new Set(['sum', 'total', 'avg'])

/** Only ever used with OVER. */
export const WINDOW_FUNCTIONS: ReadonlySet<string> = new Set(
  'row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value'.split(
    ' ',
  ),
)
