/**
 * Syntax trees of source files, by the parser that vite brings along: TypeScript 7 offers none to JavaScript.
 *
 * Decides how a tree is walked and what counts as an import. Nodes are ESTree with TypeScript's additions.
 */
import { parseSync } from 'vite'

/** A node of the tree. Fields other than these are read through `child`, `children` and `text`. */
export interface SyntaxNode {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [field: string]: unknown
}

export interface SourceFile {
  readonly text: string
  readonly program: SyntaxNode
  /** 1-based line of an offset. */
  lineAt(offset: number): number
}

export interface Import {
  readonly specifier: string
  /** No trace of it is left at run time. */
  readonly typeOnly: boolean
  /** Imported names; empty for `import * as`, re-exports of everything and `import()`. */
  readonly names: readonly string[]
  readonly line: number
}

/** Throws a plain Error with the parser's message when the text is no TypeScript. */
export function parseSource(fileName: string, text: string): SourceFile {
  const { program, errors } = parseSync(fileName, text)
  const first = errors[0]
  if (first !== undefined) throw new Error(`${fileName}: ${first.message}`)
  return {
    text,
    program: program as unknown as SyntaxNode,
    lineAt: (offset) => text.slice(0, offset).split('\n').length,
  }
}

export function isNode(value: unknown): value is SyntaxNode {
  return typeof value === 'object' && value !== null && typeof (value as SyntaxNode).type === 'string'
}

/** The node in a field, `undefined` when the field holds none. */
export function child(node: SyntaxNode, field: string): SyntaxNode | undefined {
  const value = node[field]
  return isNode(value) ? value : undefined
}

/** The nodes in a list field. */
export function children(node: SyntaxNode, field: string): SyntaxNode[] {
  const value = node[field]
  return Array.isArray(value) ? value.filter(isNode) : []
}

/** The name of an identifier or the value of a string literal, `undefined` for any other node. */
export function text(node: SyntaxNode | undefined): string | undefined {
  if (node === undefined) return undefined
  if (node.type === 'Identifier') return node['name'] as string
  if (node.type === 'Literal' && typeof node['value'] === 'string') return node['value']
  return undefined
}

export type Visit = (node: SyntaxNode, parents: readonly SyntaxNode[]) => void

/** Visits every node, parents first; `parents` ends with the nearest one. */
export function walk(root: SyntaxNode, visit: Visit): void {
  const parents: SyntaxNode[] = []
  const step = (node: SyntaxNode): void => {
    visit(node, parents)
    parents.push(node)
    for (const value of Object.values(node)) {
      if (isNode(value)) step(value)
      else if (Array.isArray(value)) for (const item of value) if (isNode(item)) step(item)
    }
    parents.pop()
  }
  step(root)
}

/** Every import, re-export, `import()` of a literal, and `import('x')` type. */
export function importsOf(file: SourceFile): Import[] {
  const found: Import[] = []
  walk(file.program, (node) => {
    const specifier = text(child(node, 'source'))
    if (specifier === undefined) return
    const line = file.lineAt(node.start)
    if (node.type === 'ImportDeclaration' || node.type === 'ExportNamedDeclaration') {
      const specifiers = children(node, 'specifiers')
      const kind = node.type === 'ImportDeclaration' ? 'importKind' : 'exportKind'
      const side = node.type === 'ImportDeclaration' ? 'imported' : 'local'
      const typeOnly =
        node[kind] === 'type' ||
        (specifiers.length > 0 && specifiers.every((specifier) => specifier[kind] === 'type'))
      const names = specifiers.flatMap((specifier) => text(child(specifier, side)) ?? [])
      found.push({ specifier, typeOnly, names, line })
    } else if (node.type === 'ExportAllDeclaration') {
      found.push({ specifier, typeOnly: node['exportKind'] === 'type', names: [], line })
    } else if (node.type === 'ImportExpression') {
      found.push({ specifier, typeOnly: false, names: [], line })
    } else if (node.type === 'TSImportType') {
      found.push({ specifier, typeOnly: true, names: [], line })
    }
  })
  return found
}
