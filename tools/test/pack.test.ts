/** Packs every public package and uses the tarballs in a foreign project: what a stranger gets, typechecks and runs. */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { installTarballs, packAll, publicPackages } from '../src/pack.ts'
import { readWorkspace, repositoryRoot, type Package } from '../src/workspace.ts'
import { CONSUMERS } from './consumers.ts'

const run = promisify(execFile)
const root = repositoryRoot()
const packages = publicPackages(readWorkspace(root))
const folder = mkdtempSync(join(tmpdir(), 'understudy-pack-'))
const project = join(folder, 'consumer')

const programOf = (name: string): string => `${name.split('/')[1]}.ts`
/** A package without a command whose door offers nothing: there is nothing to use yet. */
function isEmpty({ folder, manifest }: Package): boolean {
  const door = readFileSync(join(folder, 'src/index.ts'), 'utf8').trim()
  return (door === '' || door === 'export {}') && manifest.bin === undefined
}

beforeAll(async () => {
  await installTarballs(await packAll(readWorkspace(root), folder), project)
  for (const [name, program] of Object.entries(CONSUMERS))
    writeFileSync(join(project, programOf(name)), program)
  const compilerOptions = {
    target: 'es2024',
    lib: ['es2024', 'esnext.disposable'],
    module: 'nodenext',
    strict: true,
    noEmit: true,
    // The types that node:sqlite and Buffer have; everything else comes from the tarballs.
    types: ['node'],
    typeRoots: [join(root, 'node_modules/@types')],
  }
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }))
}, 180_000)

afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Output of a program that failed, which its error hides. */
async function outputOf(command: string, args: readonly string[]): Promise<string> {
  try {
    // Without the colours that a test runner asks for, about which Node would print a warning.
    const env = { ...process.env, FORCE_COLOR: undefined, NO_COLOR: undefined }
    const { stdout } = await run(command, args, { cwd: project, env })
    return stdout
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    return `failed:\n${stdout}${stderr}`
  }
}

test('the programs typecheck against the packed declarations', async () => {
  expect(await outputOf(join(root, 'node_modules/.bin/tsc'), ['-p', '.'])).toBe('')
})

describe.each(packages.map((each) => [each.name, each] as const))('%s', (name, owner) => {
  test.skipIf(isEmpty(owner))('has a program here, which runs on what was packed', async () => {
    expect(Object.keys(CONSUMERS)).toContain(name)
    const where = `console.log(import.meta.resolve(${JSON.stringify(name)}))`
    const resolved = await outputOf(process.execPath, ['--input-type=module', '-e', where])
    expect(resolved).toContain(`consumer/node_modules/${name}/dist/index.js`)
    expect(await outputOf(process.execPath, ['--disable-warning=ExperimentalWarning', programOf(name)])).toBe(
      '',
    )
  })
})
