/**
 * Keeps the architecture: `node tools/src/architecture.ts [root]` prints each broken rule and ends with exit code 1
 * when there is one.
 *
 * Decides which rule applies to which file; the rules stand in rules-imports, rules-purity and rules-shape. Generated
 * code answers to the rules on imports alone.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkImports, checkManifest, type Violation } from './rules-imports.ts'
import { checkPurity, checkPurityLists } from './rules-purity.ts'
import { checkReadme, checkShape } from './rules-shape.ts'
import { parseSource } from './syntax.ts'
import { readWorkspace, repositoryRoot, sourceFiles, type Package, type Workspace } from './workspace.ts'

export interface ArchitectureReport {
  readonly packages: number
  readonly files: number
  readonly violations: readonly Violation[]
}

export function checkArchitecture(workspace: Workspace): ArchitectureReport {
  const reports = workspace.packages.map((owner) => checkPackage(workspace, owner))
  return {
    packages: reports.length,
    files: reports.reduce((sum, report) => sum + report.files, 0),
    violations: reports.flatMap((report) => report.violations),
  }
}

function checkPackage(workspace: Workspace, owner: Package): { files: number; violations: Violation[] } {
  const files = sourceFiles(owner.folder).filter((file) => `${owner.path}/${file}` !== 'tools/vitest.base.ts')
  const violations = [...checkManifest(workspace, owner), ...checkPurityLists(owner), ...checkReadme(owner)]
  for (const file of files) {
    const source = parseSource(file, readFileSync(join(owner.folder, file), 'utf8'))
    violations.push(...checkImports(workspace, owner, file, source))
    const isOurs =
      owner.path.startsWith('packages/') && file.startsWith('src/') && !file.includes('/generated/')
    if (!isOurs) continue
    violations.push(...checkPurity(owner, file, source), ...checkShape(owner, file, source))
  }
  return { files: files.length, violations }
}

export function formatViolation({ file, line, rule, message }: Violation): string {
  return `${file}${line > 0 ? `:${line}` : ''}  ${message}  [${rule}]`
}

if (import.meta.main) {
  const report = checkArchitecture(readWorkspace(process.argv[2] ?? repositoryRoot()))
  for (const violation of report.violations) console.error(formatViolation(violation))
  console.log(
    `architecture: ${report.packages} packages, ${report.files} files, ${report.violations.length} broken rules`,
  )
  process.exitCode = report.violations.length === 0 ? 0 : 1
}
