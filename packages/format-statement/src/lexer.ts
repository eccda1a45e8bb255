/**
 * Words of SQL text: not a parser. What stands in strings and comments is left out, names in quotes count as words.
 */

export interface Word {
  /** In lower case; one character for anything that is no name or number. */
  readonly text: string
  readonly quoted: boolean
  /** Parentheses around it. */
  readonly depth: number
  readonly start: number
}

/** Letters, digits, `_`, `$` and everything beyond ASCII. */
function isName(code: number): boolean {
  return (
    (code >= 97 && code <= 122) ||
    (code >= 48 && code <= 57) ||
    (code >= 65 && code <= 90) ||
    code === 95 ||
    code === 36 ||
    code >= 128
  )
}

export function words(sql: string): Word[] {
  const found: Word[] = []
  let depth = 0
  let at = 0
  while (at < sql.length) {
    const char = sql.charAt(at)
    const next = sql.charAt(at + 1)
    if (char === '-' && next === '-') {
      const end = sql.indexOf('\n', at)
      at = end < 0 ? sql.length : end + 1
    } else if (char === '/' && next === '*') {
      const end = sql.indexOf('*/', at + 2)
      at = end < 0 ? sql.length : end + 2
    } else if (char === `'`) {
      at = quotedEnd(sql, at, `'`)
    } else if (char === '"' || char === '`' || char === '[') {
      const close = char === '[' ? ']' : char
      const end = quotedEnd(sql, at, close)
      const inner = sql.slice(at + 1, end - 1)
      const text = close === ']' ? inner : inner.replaceAll(close + close, close)
      found.push({ text: text.toLowerCase(), quoted: true, depth, start: at })
      at = end
    } else if (isName(sql.charCodeAt(at))) {
      let end = at + 1
      while (end < sql.length && isName(sql.charCodeAt(end))) end += 1
      found.push({ text: sql.slice(at, end).toLowerCase(), quoted: false, depth, start: at })
      at = end
    } else {
      at += 1
      // Empty statements before this one are no part of it.
      if (/\s/.test(char) || (char === ';' && found.length === 0)) continue
      if (char === ')') depth -= 1
      found.push({ text: char, quoted: false, depth, start: at - 1 })
      if (char === '(') depth += 1
    }
  }
  return found
}

/** Whether the words contain this sequence, outside of quotes. */
export function hasSequence(list: readonly Word[], ...sequence: readonly string[]): boolean {
  return list.some((_, start) =>
    sequence.every((text, index) => {
      const word = list[start + index]
      return word !== undefined && !word.quoted && word.text === text
    }),
  )
}

/** What a statement does: its first word, or the first one after the tables of WITH. */
export function verbOf(list: readonly Word[]): string {
  const first = list[0]?.text ?? ''
  if (first !== 'with') return first
  const verbs = new Set(['insert', 'replace', 'update', 'delete', 'select', 'values'])
  return list.find(({ text, quoted, depth }) => !quoted && depth === 0 && verbs.has(text))?.text ?? 'select'
}

function quotedEnd(sql: string, start: number, close: string): number {
  let at = start + 1
  for (;;) {
    const end = sql.indexOf(close, at)
    if (end < 0) return sql.length
    if (close === ']' || sql.charAt(end + 1) !== close) return end + 1
    at = end + 2
  }
}
