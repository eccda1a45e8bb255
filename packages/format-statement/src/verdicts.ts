/** Verdicts that the words of a statement decide, before SQLite is asked: PRAGMAs, transactions, administration. */
import { hasSequence, type Word } from './lexer.ts'
import type { SafetyReasonCode, SafetyVerdict } from './reasons.ts'

/** PRAGMAs whose value is data, or acts on the write, and travels as a statement. */
export const CARRIED_PRAGMAS: ReadonlySet<string> = new Set([
  'application_id',
  'defer_foreign_keys',
  'user_version',
])

/** PRAGMAs that read, also with an argument, or tidy this file alone. */
const LOCAL_PRAGMAS: ReadonlySet<string> = new Set([
  'collation_list',
  'compile_options',
  'data_version',
  'database_list',
  'foreign_key_check',
  'foreign_key_list',
  'freelist_count',
  'function_list',
  'incremental_vacuum',
  'index_info',
  'index_list',
  'index_xinfo',
  'integrity_check',
  'module_list',
  'page_count',
  'pragma_list',
  'quick_check',
  'shrink_memory',
  'table_info',
  'table_list',
  'table_xinfo',
  'wal_checkpoint',
])

/** Statements after which a session that was open before may not answer. */
export const SCHEMA_VERBS: ReadonlySet<string> = new Set(['alter', 'create', 'drop'])

export interface WordVerdict {
  readonly verdict: SafetyVerdict
  readonly code: SafetyReasonCode | undefined
  readonly detail: string
}

const TRANSACTION: ReadonlySet<string> = new Set([
  'begin',
  'commit',
  'end',
  'release',
  'rollback',
  'savepoint',
])

const READS: ReadonlySet<string> = new Set(['select', 'values', 'explain', ''])

/** `undefined`: SQLite must be asked. */
export function verdictByWords(
  list: readonly Word[],
  verb: string,
  ownPrefix: string,
): WordVerdict | undefined {
  if (TRANSACTION.has(verb)) return refused('TRANSACTION', verb)
  if (verb === 'attach' || verb === 'detach') return refused('ATTACH', verb)
  if (verb === 'vacuum') return refused('VACUUM', verb)
  if (verb === 'pragma') return pragmaVerdict(list)
  if (READS.has(verb)) return { verdict: 'safe', code: undefined, detail: '' }
  const own = list.find(({ text }) => text.startsWith(ownPrefix))
  if (own !== undefined) return refused('OWN_TABLE', own.text)
  if (verb === 'reindex') return { verdict: 'local', code: 'REINDEX', detail: verb }
  const second = list[1]?.text
  const isTemporary = verb === 'create' && (second === 'temp' || second === 'temporary')
  if (isTemporary || hasSequence(list, 'temp', '.') || hasSequence(list, 'temporary', '.')) {
    return refused('TEMP', verb)
  }
  return undefined
}

function pragmaVerdict(list: readonly Word[]): WordVerdict {
  const at = list[2]?.text === '.' ? 3 : 1
  const name = list[at]?.text ?? ''
  const hasArgument = list[at + 1]?.text === '=' || list[at + 1]?.text === '('
  if (CARRIED_PRAGMAS.has(name) && hasArgument) return { verdict: 'safe', code: undefined, detail: name }
  if (LOCAL_PRAGMAS.has(name)) return { verdict: 'local', code: 'LOCAL_PRAGMA', detail: name }
  const acts = name === 'optimize' || name === 'journal_mode'
  if (!hasArgument && !acts) return { verdict: 'local', code: 'LOCAL_PRAGMA', detail: name }
  return refused('SETTING', name)
}

function refused(code: SafetyReasonCode, detail: string): WordVerdict {
  return { verdict: 'refused', code, detail }
}
