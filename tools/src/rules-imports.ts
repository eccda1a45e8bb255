/**
 * Rules on imports: the arrows between packages.
 *
 * 1. A package imports only packages of a lower layer, in src and in tests; its own door in tests is allowed.
 * 2. Each import is declared: in `dependencies` (or peer, optional) for src; tests may use `devDependencies` and the
 *    root's. The testkit is for tests alone.
 * 3. No deep imports of another package, save what its `exports` offer; none by path.
 * 4. The source of `contracts` imports nothing but its own files and types of `node:sqlite`.
 * 5. What the package.json declares obeys the layers too.
 */
import { isBuiltin } from 'node:module'
import { posix } from 'node:path'
import { importsOf, type Import, type SourceFile } from './syntax.ts'
import type { Package, Workspace } from './workspace.ts'

/** One broken rule. */
export interface Violation {
  readonly rule: string
  /** From the root, with slashes. */
  readonly file: string
  /** 1-based; 0 when it is about the whole file. */
  readonly line: number
  readonly message: string
}

const SCOPE = '@understudy/'
const CONTRACTS = '@understudy/contracts'
const TESTKIT = '@understudy/testkit'

/** `file` is relative to the package's folder. */
export function checkImports(
  workspace: Workspace,
  owner: Package,
  file: string,
  source: SourceFile,
): Violation[] {
  return importsOf(source).flatMap((entry) => {
    const problem = problemOf(workspace, owner, file, entry)
    return problem === undefined
      ? []
      : [{ rule: problem[0], file: `${owner.path}/${file}`, line: entry.line, message: problem[1] }]
  })
}

type Problem = readonly [rule: string, message: string]

function problemOf(workspace: Workspace, owner: Package, file: string, entry: Import): Problem | undefined {
  const { specifier } = entry
  if (specifier.startsWith('.') || specifier.startsWith('/')) return pathProblem(owner, file, specifier)
  if (isBuiltin(specifier)) {
    const isContract = owner.name === CONTRACTS && isSourceOf(owner, file)
    const forbidden = isContract && !(specifier === 'node:sqlite' && entry.typeOnly)
    return forbidden
      ? ['contracts', `contracts imports only types of node:sqlite, not ${specifier}`]
      : undefined
  }
  const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
  if (name === owner.name) return undefined
  const inTest = !isSourceOf(owner, file)
  if (owner.name === CONTRACTS && !inTest) return ['contracts', `contracts depends on nothing, not ${name}`]
  if (name.startsWith(SCOPE)) {
    const target = workspace.packages.find((other) => other.name === name)
    if (target === undefined) return ['declared', `${name} is no package of this repository`]
    const arrow = arrowProblem(owner, target)
    if (arrow !== undefined) return arrow
    if (name === TESTKIT && !inTest && owner.manifest.private !== true)
      return ['testkit', 'the testkit is for tests, not for src']
    const door = `.${specifier.slice(name.length)}`
    if (door !== '.' && !(door in (target.manifest.exports ?? {})))
      return ['deep', `${specifier} reaches behind the public door of ${name}`]
  }
  return declaredProblem(workspace, owner, name, inTest)
}

function isSourceOf(owner: Package, file: string): boolean {
  return owner.path.startsWith('packages/') && file.startsWith('src/')
}

function pathProblem(owner: Package, file: string, specifier: string): Problem | undefined {
  const target = posix.join(posix.dirname(file), specifier)
  const leaves = specifier.startsWith('/') || target === '..' || target.startsWith('../')
  return leaves ? ['path', `${specifier} leaves the package ${owner.name}`] : undefined
}

function arrowProblem(owner: Package, target: Package): Problem | undefined {
  const from = owner.manifest.understudy?.layer
  const to = target.manifest.understudy?.layer
  if (from === undefined || to === undefined || to < from) return undefined
  return [
    'layer',
    `${owner.name} (layer ${from}) may import only packages of a lower layer, not ${target.name} (layer ${to})`,
  ]
}

function declaredProblem(
  workspace: Workspace,
  owner: Package,
  name: string,
  inTest: boolean,
): Problem | undefined {
  const { dependencies, peerDependencies, optionalDependencies, devDependencies } = owner.manifest
  const shipped = { ...dependencies, ...peerDependencies, ...optionalDependencies }
  if (name in shipped) return undefined
  const forTests = { ...devDependencies, ...workspace.manifest.devDependencies }
  if (inTest) {
    if (name in forTests) return undefined
    return ['declared', `${name} is in neither dependencies nor devDependencies of ${owner.name}`]
  }
  return ['declared', `${name} is not in the dependencies of ${owner.name}`]
}

/** Rule 5, and that each package says its layer. */
export function checkManifest(workspace: Workspace, owner: Package): Violation[] {
  const file = `${owner.path}/package.json`
  const layer = owner.manifest.understudy?.layer
  if (typeof layer !== 'number')
    return [{ rule: 'layer', file, line: 0, message: '"understudy": { "layer": … } is missing' }]
  const declared = { ...owner.manifest.dependencies, ...owner.manifest.devDependencies }
  return Object.keys(declared).flatMap((name) => {
    const target = workspace.packages.find((other) => other.name === name)
    const problem = target === undefined ? undefined : arrowProblem(owner, target)
    return problem === undefined ? [] : [{ rule: problem[0], file, line: 0, message: problem[1] }]
  })
}
