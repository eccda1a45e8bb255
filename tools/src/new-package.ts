/**
 * Makes the skeleton of a package: `npm run new-package -- <name> <layer> "<purpose>"`.
 *
 * The purpose is one sentence without an "and"; the layer is the number of DESIGN: a package imports only lower ones.
 */
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const [name, layerText, purpose] = process.argv.slice(2)
const layer = Number(layerText)
if (name === undefined || purpose === undefined || !Number.isInteger(layer)) {
  console.error('usage: npm run new-package -- <name> <layer> "<purpose in one sentence>"')
  process.exit(2)
}
const root = join(import.meta.dirname, '../..', 'packages', name)
if (existsSync(root)) {
  console.error(`packages/${name} exists already; nothing was changed`)
  process.exit(1)
}

const manifest = {
  name: `@understudy/${name}`,
  version: '0.1.0',
  description: purpose,
  license: 'Apache-2.0',
  type: 'module',
  sideEffects: false,
  engines: { node: '>=24.15.0' },
  understudy: { layer },
  files: ['dist', 'src'],
  exports: {
    '.': { '@understudy/source': './src/index.ts', types: './dist/index.d.ts', default: './dist/index.js' },
    './package.json': './package.json',
  },
  scripts: {
    build: 'tsc -p tsconfig.build.json',
    typecheck: 'tsc -p tsconfig.json',
    test: 'vitest run',
    'package-lint': 'publint --strict',
  },
  dependencies: layer === 0 ? {} : { '@understudy/contracts': '^0.1.0' },
}
const files: Record<string, string> = {
  'package.json': JSON.stringify(manifest, null, 2),
  'tsconfig.json': JSON.stringify(
    {
      extends: '../../tsconfig.base.json',
      compilerOptions: { noEmit: true },
      include: ['src', 'test', '*.ts'],
    },
    null,
    2,
  ),
  'tsconfig.build.json': JSON.stringify(
    {
      extends: '../../tsconfig.base.json',
      compilerOptions: { rootDir: 'src', outDir: 'dist' },
      include: ['src'],
    },
    null,
    2,
  ),
  'vitest.config.ts': "export { default } from '../../tools/vitest.base.ts'",
  'README.md': `# @understudy/${name}\n\n${purpose}`,
  'src/index.ts': '',
}
for (const [path, text] of Object.entries(files)) {
  const target = join(root, path)
  mkdirSync(join(target, '..'), { recursive: true })
  writeFileSync(target, `${text}\n`)
}
console.log(`packages/${name} is made; run npm install to link it`)
