/**
 * `npm run new-package -- name layer "What it is, in one sentence."`: the skeleton of a package under packages/.
 *
 * Decides what every package has in common. The README it writes is a start: the architecture check asks for its
 * sections, and its words are the author's.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { readWorkspace, repositoryRoot } from './workspace.ts'

export interface NewPackage {
  /** Without scope, in kebab case. */
  readonly name: string
  readonly layer: number
  readonly description: string
  /** That of the other packages: all share one. */
  readonly version: string
}

/** The files of a new package, by path from its folder. Throws a plain Error for a name or layer that cannot be one. */
export function packageFiles({ name, layer, description, version }: NewPackage): Record<string, string> {
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name)) throw new Error(`"${name}" is no name in kebab case`)
  if (!Number.isInteger(layer) || layer < 0) throw new Error(`${layer} is no layer`)
  const manifest = {
    name: `@understudy/${name}`,
    version,
    description,
    license: 'Apache-2.0',
    files: ['dist', 'src'],
    type: 'module',
    sideEffects: false,
    exports: {
      '.': {
        '@understudy/source': './src/index.ts',
        types: './dist/index.d.ts',
        default: './dist/index.js',
      },
      './package.json': './package.json',
    },
    scripts: {
      build: 'tsc -p tsconfig.build.json',
      typecheck: 'tsc -p tsconfig.json',
      test: 'vitest run',
      'package-lint': 'publint --strict',
    },
    dependencies: layer > 0 ? { '@understudy/contracts': `^${version}` } : {},
    engines: { node: '>=24.15.0' },
    understudy: { layer },
  }
  const base = '../../tsconfig.base.json'
  return {
    'package.json': json(manifest),
    'tsconfig.json': json({
      extends: base,
      compilerOptions: { noEmit: true },
      include: ['src', 'test', '*.ts'],
    }),
    'tsconfig.build.json': json({
      extends: base,
      compilerOptions: { rootDir: 'src', outDir: 'dist' },
      include: ['src'],
    }),
    'vitest.config.ts': "export { default } from '../../tools/vitest.base.ts'\n",
    'src/index.ts': 'export {}\n',
    'README.md': `# @understudy/${name}\n\n${description}\n\n## Install\n\n\`\`\`sh\nnpm install @understudy/${name}\n\`\`\`\n\n## Errors\n\nIt raises none of its own.\n`,
  }
}

function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`
}

if (import.meta.main) {
  const [name = '', layer = '', description = ''] = process.argv.slice(2)
  const root = repositoryRoot()
  const folder = join(root, 'packages', name)
  if (description === '')
    throw new Error('usage: npm run new-package -- name layer "What it is, in one sentence."')
  if (existsSync(folder)) throw new Error(`packages/${name} exists already`)
  const version = readWorkspace(root).packages.find((each) => each.path === 'packages/contracts')?.manifest
    .version
  if (version === undefined) throw new Error('packages/contracts has no version')
  const files = packageFiles({ name, layer: Number(layer), description, version })
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  console.log(`packages/${name} is there; run "npm install --package-lock-only" next`)
}
