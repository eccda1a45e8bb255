/**
 * Rules on the shape of a package.
 *
 * 1. No module-level state in src: no `let` or `var` at the top, no empty container (`new Map()`, `[]`) either, which
 *    would only be there to be filled, unless its type is read-only.
 * 2. No default exports in src.
 * 3. A README with a title that is the package's name; a public package's README has the sections Install and Errors.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { child, children, text, type SourceFile, type SyntaxNode } from './syntax.ts'
import type { Package } from './workspace.ts'
import type { Violation } from './rules-imports.ts'

const CONTAINERS = new Set(['Map', 'Set', 'WeakMap', 'WeakSet', 'Array'])

/** Rules 1 and 2, for a file of src. */
export function checkShape(owner: Package, file: string, source: SourceFile): Violation[] {
  const report = (rule: string, node: SyntaxNode, message: string): Violation => ({
    rule,
    file: `${owner.path}/${file}`,
    line: source.lineAt(node.start),
    message,
  })
  return children(source.program, 'body').flatMap((statement): Violation[] => {
    if (statement.type === 'ExportDefaultDeclaration')
      return [report('default', statement, 'default export: export by name')]
    const renamed = children(statement, 'specifiers').filter(
      (specifier) =>
        statement.type === 'ExportNamedDeclaration' && text(child(specifier, 'exported')) === 'default',
    )
    if (renamed.length > 0) return [report('default', statement, 'default export: export by name')]
    const declaration =
      statement.type === 'ExportNamedDeclaration' ? child(statement, 'declaration') : statement
    if (declaration?.type !== 'VariableDeclaration' || declaration['declare'] === true) return []
    if (declaration['kind'] !== 'const')
      return [
        report('state', declaration, `module-level ${String(declaration['kind'])}: keep state in an object`),
      ]
    return children(declaration, 'declarations')
      .filter((declarator) => isEmptyContainer(child(declarator, 'init')) && !isReadonly(declarator))
      .map((declarator) =>
        report('state', declarator, 'empty container at module level: keep state in an object'),
      )
  })
}

function isEmptyContainer(init: SyntaxNode | undefined): boolean {
  if (init?.type === 'ArrayExpression') return children(init, 'elements').length === 0
  if (init?.type !== 'NewExpression') return false
  return CONTAINERS.has(text(child(init, 'callee')) ?? '') && children(init, 'arguments').length === 0
}

/** `const none: readonly string[] = []`, or `ReadonlySet<…>`. */
function isReadonly(declarator: SyntaxNode): boolean {
  const annotation = child(child(declarator, 'id') ?? declarator, 'typeAnnotation')
  const type = annotation === undefined ? undefined : child(annotation, 'typeAnnotation')
  if (type?.type === 'TSTypeOperator') return type['operator'] === 'readonly'
  return type?.type === 'TSTypeReference' && (text(child(type, 'typeName')) ?? '').startsWith('Readonly')
}

/** Rule 3. */
export function checkReadme(owner: Package): Violation[] {
  if (!owner.path.startsWith('packages/')) return []
  const file = `${owner.path}/README.md`
  const report = (message: string): Violation => ({ rule: 'readme', file, line: 0, message })
  const path = join(owner.folder, 'README.md')
  if (!existsSync(path)) return [report('missing')]
  const headings = headingsOf(readFileSync(path, 'utf8'))
  const missing = [`# ${owner.name}`]
  if (owner.manifest.private !== true) missing.push('## Install', '## Errors')
  return missing
    .filter((heading) => !headings.has(heading.toLowerCase()))
    .map((heading) => report(`section "${heading}" is missing`))
}

/** Headings in lower case, code blocks left out. */
function headingsOf(markdown: string): Set<string> {
  const lines = markdown.replaceAll(/^```[\s\S]*?^```/gm, '').split('\n')
  return new Set(lines.filter((line) => /^#+ /.test(line)).map((line) => line.trim().toLowerCase()))
}
