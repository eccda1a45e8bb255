/**
 * Compares the error codes that each package raises with the table in its README.
 *
 * `node tools/src/errors-documented.ts [root] [--strict]`; with `--strict`, a code that no package raises fails as well,
 * save when its sentence in contracts/src/errors.ts begins with "Reserved".
 *
 * What counts as raising a code: any string in src that is one, since codes reach `new UnderstudyError` also through
 * helper functions, lookup tables and `code:` fields. Left out is what only asks for a code: comparisons, `case`,
 * `isUnderstudyError(error, code)`, `includes` and `has`, lists of codes, types, and the conformance suites (src/suites),
 * which say what others have to raise. The contracts raise nothing: a table there lists
 * every code.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { child, parseSource, text, walk, type SyntaxNode } from './syntax.ts'
import { readWorkspace, repositoryRoot, sourceFiles, type Package } from './workspace.ts'

const ERRORS_FILE = 'packages/contracts/src/errors.ts'
const CONTRACTS = '@understudy/contracts'

/** Each code with its sentence, from `ERROR_CODES` in the source of the contracts. */
export function readErrorCodes(root: string): Map<string, string> {
  const codes = new Map<string, string>()
  walk(parseSource('errors.ts', readFileSync(join(root, ERRORS_FILE), 'utf8')).program, (node, parents) => {
    if (node.type !== 'Property') return
    const declarator = parents.findLast((parent) => parent.type === 'VariableDeclarator')
    if (declarator === undefined || text(child(declarator, 'id')) !== 'ERROR_CODES') return
    codes.set(text(child(node, 'key')) ?? '', text(child(node, 'value')) ?? '')
  })
  return codes
}

/** The codes that a source text raises. */
export function raisedCodes(
  fileName: string,
  source: string,
  codes: ReadonlyMap<string, string>,
): Set<string> {
  const raised = new Set<string>()
  walk(parseSource(fileName, source).program, (node, parents) => {
    if (node.type !== 'Literal') return
    const value = text(node)
    if (value !== undefined && codes.has(value) && !onlyAsks(node, parents)) raised.add(value)
  })
  return raised
}

function onlyAsks(node: SyntaxNode, parents: readonly SyntaxNode[]): boolean {
  const parent = parents.at(-1)
  if (parent === undefined) return true
  if (['BinaryExpression', 'ArrayExpression', 'TSLiteralType'].includes(parent.type)) return true
  if (parent.type === 'SwitchCase' && parent['test'] === node) return true
  if (parent.type !== 'CallExpression') return false
  const callee = child(parent, 'callee')
  const name = callee?.type === 'MemberExpression' ? text(child(callee, 'property')) : text(callee)
  return name === 'isUnderstudyError' || name === 'includes' || name === 'has'
}

/** Codes in the first column of the tables under "## Errors". */
export function documentedCodes(markdown: string): Set<string> {
  const section = /^## Errors\s*$([\s\S]*?)(?=^## |$(?![\s\S]))/im.exec(markdown)?.[1] ?? ''
  return new Set([...section.matchAll(/^\|\s*`([A-Z][A-Z_]+)`/gm)].map((match) => match[1] ?? ''))
}

export interface ErrorsReport {
  readonly problems: readonly string[]
  /** Codes that no package raises and that are not reserved. */
  readonly unused: readonly string[]
}

export function checkErrors(root: string): ErrorsReport {
  const codes = readErrorCodes(root)
  const raisedAnywhere = new Set<string>()
  const problems: string[] = []
  for (const owner of readWorkspace(root).packages.filter((each) => each.path.startsWith('packages/'))) {
    const raised = raisedBy(owner, codes)
    for (const code of raised) raisedAnywhere.add(code)
    if (owner.manifest.private !== true) problems.push(...compare(owner, raised, codes))
  }
  const unused = [...codes].flatMap(([code, sentence]) =>
    raisedAnywhere.has(code) || /^reserved/i.test(sentence) ? [] : [code],
  )
  return { problems, unused }
}

function raisedBy(owner: Package, codes: ReadonlyMap<string, string>): Set<string> {
  const raised = new Set<string>()
  for (const file of sourceFiles(owner.folder).filter((each) => /^src\/(?!suites\/)/.test(each)))
    for (const code of raisedCodes(file, readFileSync(join(owner.folder, file), 'utf8'), codes))
      raised.add(code)
  return raised
}

function compare(owner: Package, raised: Set<string>, codes: ReadonlyMap<string, string>): string[] {
  const path = join(owner.folder, 'README.md')
  const documented = documentedCodes(existsSync(path) ? readFileSync(path, 'utf8') : '')
  const expected = owner.name === CONTRACTS && documented.size > 0 ? new Set(codes.keys()) : raised
  const undocumented = [...expected]
    .filter((code) => !documented.has(code))
    .map((code) => `raises ${code}, which is not in its table`)
  const stale = [...documented]
    .filter((code) => !expected.has(code))
    .map((code) =>
      codes.has(code) ? `lists ${code}, which it never raises` : `lists ${code}, which is no code`,
    )
  return [...undocumented, ...stale].map((problem) => `${owner.path}/README.md  ${problem}`)
}

/** Everything wrong, one line each. */
export function errorsProblems(report: ErrorsReport, strict: boolean): string[] {
  const unused = strict ? report.unused.map((code) => `${ERRORS_FILE}  no package raises ${code}`) : []
  return [...report.problems, ...unused]
}

if (import.meta.main) {
  const strict = process.argv.includes('--strict')
  const root = process.argv.slice(2).find((argument) => !argument.startsWith('--')) ?? repositoryRoot()
  const report = checkErrors(root)
  const problems = errorsProblems(report, strict)
  for (const problem of problems) console.error(problem)
  const aside =
    strict || report.unused.length === 0 ? '' : `, ${report.unused.length} codes raised nowhere yet`
  console.log(`documented errors: ${problems.length} problems${aside}`)
  process.exitCode = problems.length === 0 ? 0 : 1
}
