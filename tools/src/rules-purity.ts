/**
 * Rules on purity: where time, randomness, files and sockets may be touched.
 *
 * 1. No file of the packages' src outside the `adapters` of its package.json reads a clock, makes random numbers or sets
 *    timers: these come in through `Clock` and `Random`, so that a whole cluster runs in a simulation from one seed.
 * 2. A file named in `pure` is a state machine: no files, sockets, processes or microtasks either.
 * 3. Every entry of both lists exists, and none is in both.
 *
 * Types are not looked at: they leave no trace at run time.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { child, importsOf, text, walk, type SourceFile, type SyntaxNode } from './syntax.ts'
import type { Package } from './workspace.ts'
import type { Violation } from './rules-imports.ts'

const TIMERS = ['setTimeout', 'setInterval']
const TURNS = ['setImmediate', 'queueMicrotask']
const MEMBERS = new Set([
  'Date.now',
  'performance.now',
  'performance.timeOrigin',
  'process.hrtime',
  'Math.random',
])
const MEMBERS_PURE = new Set(['process.nextTick'])
const MODULES = new Set(['timers', 'timers/promises'])
const MODULES_PURE = new Set([
  'fs',
  'fs/promises',
  'net',
  'tls',
  'dgram',
  'dns',
  'http',
  'https',
  'http2',
  'os',
  'child_process',
  'worker_threads',
  'cluster',
])
const CRYPTO_RANDOM = /^(random|getRandomValues$|webcrypto$)/

/** How strict a file is checked: `free` may do anything, `pure` nothing. */
export type Strictness = 'free' | 'normal' | 'pure'

/** `file` is relative to the package's folder. */
export function strictnessOf(owner: Package, file: string): Strictness {
  const { pure = [], adapters = [] } = owner.manifest.understudy ?? {}
  if (!file.startsWith('src/')) return 'free'
  if (matches(pure, file)) return 'pure'
  return matches(adapters, file) ? 'free' : 'normal'
}

function matches(entries: readonly string[], file: string): boolean {
  return entries.some((entry) => (entry.endsWith('/') ? file.startsWith(entry) : file === entry))
}

export function checkPurity(owner: Package, file: string, source: SourceFile): Violation[] {
  const strictness = strictnessOf(owner, file)
  if (strictness === 'free') return []
  const pure = strictness === 'pure'
  const found: Violation[] = []
  const report = (line: number, what: string): void => {
    const way = pure
      ? 'a state machine takes it as a message'
      : 'take a Clock or Random, or list the file under "adapters"'
    found.push({
      rule: pure ? 'pure' : 'ambient',
      file: `${owner.path}/${file}`,
      line,
      message: `${what}: ${way}`,
    })
  }
  for (const entry of importsOf(source)) {
    if (entry.typeOnly) continue
    const name = entry.specifier.replace(/^node:/, '')
    if (MODULES.has(name) || (pure && MODULES_PURE.has(name)))
      report(entry.line, `imports ${entry.specifier}`)
    if (name === 'crypto')
      for (const imported of entry.names)
        if (CRYPTO_RANDOM.test(imported)) report(entry.line, `imports ${imported} of node:crypto`)
  }
  walk(source.program, (node, parents) => {
    const what = ambientUse(node, parents, pure)
    if (what !== undefined) report(source.lineAt(node.start), `uses ${what}`)
  })
  return found
}

/** What a node takes from its surroundings, if anything. */
function ambientUse(node: SyntaxNode, parents: readonly SyntaxNode[], pure: boolean): string | undefined {
  if (node.type === 'MemberExpression') {
    const path = memberPath(node)
    if (path === undefined) return undefined
    if (MEMBERS.has(path) || (pure && MEMBERS_PURE.has(path))) return path
    if (path.startsWith('crypto.') && CRYPTO_RANDOM.test(path.slice('crypto.'.length))) return path
    return undefined
  }
  if (node.type === 'NewExpression' || node.type === 'CallExpression') {
    const withoutArguments = (node['arguments'] as readonly unknown[]).length === 0
    return withoutArguments && text(child(node, 'callee')) === 'Date' ? 'the current Date' : undefined
  }
  if (node.type !== 'Identifier') return undefined
  const name = node['name'] as string
  if (!TIMERS.includes(name) && !(pure && TURNS.includes(name))) return undefined
  return isReference(node, parents) ? name : undefined
}

/** `a.b` of a member expression, with a leading `globalThis.` left out. */
function memberPath(node: SyntaxNode): string | undefined {
  const object = child(node, 'object')
  const property = child(node, 'property')
  if (object === undefined || property === undefined) return undefined
  if (node['computed'] === true && property.type !== 'Literal') return undefined
  const last = text(property)
  const first = object.type === 'MemberExpression' ? memberPath(object) : text(object)
  if (first === undefined || last === undefined) return undefined
  return first === 'globalThis' ? last : `${first}.${last}`
}

/** Whether an identifier means the global thing, and is no property, key, type or import of that name. */
function isReference(node: SyntaxNode, parents: readonly SyntaxNode[]): boolean {
  const parent = parents.at(-1)
  if (parent === undefined || parent.type.startsWith('TS') || parent.type === 'ImportSpecifier') return false
  if (parent.type === 'MemberExpression' && parent['property'] === node && parent['computed'] !== true)
    return text(child(parent, 'object')) === 'globalThis'
  const isKey = parent['key'] === node && parent['computed'] !== true
  return !isKey
}

/** Rule 3. */
export function checkPurityLists(owner: Package): Violation[] {
  const file = `${owner.path}/package.json`
  const { pure = [], adapters = [] } = owner.manifest.understudy ?? {}
  const missing = [...pure, ...adapters]
    .filter((entry) => !existsSync(join(owner.folder, entry)))
    .map((entry): Violation => ({ rule: 'lists', file, line: 0, message: `${entry} does not exist` }))
  const both = pure
    .filter((entry) => matches(adapters, entry))
    .map((entry): Violation => ({ rule: 'lists', file, line: 0, message: `${entry} is pure and an adapter` }))
  return [...missing, ...both]
}
