/** One statement with all that is known of it, and the reasons that were found so far. */
import type { DatabaseSync } from 'node:sqlite'
import type { Programs } from './explain.ts'
import { words, type Word } from './lexer.ts'
import type { SafetyReason, SafetyReasonCode } from './reasons.ts'
import type { SchemaFacts } from './schema.ts'

export interface ClassifierOptions {
  readonly ownPrefix: string
  /** Signatures of functions that are overridden by us: `random(0)`. `undefined`: all that can be. */
  readonly overridden: () => ReadonlySet<string> | undefined
  /** Names of user functions that do the same everywhere, in lower case. */
  readonly declared: ReadonlySet<string>
  readonly allowsOtherSqlite: boolean
}

export const CONTEXT_CODES: ReadonlySet<SafetyReasonCode> = new Set([
  'RANDOM',
  'MOMENT',
  'CONNECTION_COUNTER',
])

export interface Subject {
  readonly sql: string
  readonly list: readonly Word[]
  readonly verb: string
  readonly programs: Programs
  readonly facts: SchemaFacts
  readonly database: DatabaseSync
  readonly options: ClassifierOptions
}

/** A statement that is being judged. */
export class Case {
  readonly subject: Subject
  /** Words of the statement and of the views and triggers that it reaches. */
  readonly reached: readonly (readonly Word[])[]
  readonly names: ReadonlySet<string>
  readonly functions: Set<string> = new Set()
  /** Functions of the connection that it calls. */
  readonly counters: Set<string> = new Set()
  readonly #reasons = new Map<string, SafetyReason>()

  constructor(subject: Subject) {
    this.subject = subject
    this.reached = closure(subject)
    this.names = new Set(this.reached.flatMap((text) => text.map((word) => word.text)))
  }

  add(code: SafetyReasonCode, detail: string): void {
    this.#reasons.set(`${code} ${detail}`, { code, detail })
  }

  get reasons(): SafetyReason[] {
    return [...this.#reasons.values()]
  }
}

/** Texts of the statement, the views that it names and the triggers of the tables that these name, if it fires any. */
function closure({ list, programs, facts }: Subject): (readonly Word[])[] {
  const texts: (readonly Word[])[] = [list]
  const fires = programs.length > 1 || programs.flat().some(({ opcode }) => opcode === 'Program')
  const seen = new Set<string>()
  for (let at = 0; at < texts.length; at += 1) {
    for (const { text } of texts[at] as readonly Word[]) {
      if (seen.has(text)) continue
      seen.add(text)
      const view = facts.views.get(text)
      if (view !== undefined) texts.push(words(view))
      const triggers = facts.triggers.get(text)
      if (triggers === undefined || !(fires || view !== undefined)) continue
      for (const trigger of triggers) texts.push(words(trigger))
    }
  }
  return texts
}
