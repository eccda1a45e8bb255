import { describe, expect, test } from 'vitest'
import { checkArchitecture, formatViolation } from '../src/architecture.ts'
import { readWorkspace } from '../src/workspace.ts'
import { tree } from './tree.ts'

interface Fixture {
  /** Package name without scope → its manifest's fields and files. */
  readonly [name: string]: { readonly manifest?: object; readonly files?: Readonly<Record<string, string>> }
}

const LAYERS: Readonly<Record<string, number>> = {
  contracts: 0,
  testkit: 1,
  codec: 1,
  log: 2,
  wire: 2,
  node: 3,
}

/** Broken rules of a small workspace of the packages above; packages not named are empty. */
function check(fixture: Fixture, rootManifest: object = { devDependencies: { vitest: '1' } }): string[] {
  const files: Record<string, unknown> = { 'package.json': { name: 'root', ...rootManifest } }
  for (const [name, layer] of Object.entries(LAYERS)) {
    const { manifest = {}, files: own = {} } = fixture[name] ?? {}
    const understudy = { layer, ...(manifest as { understudy?: object }).understudy }
    const folder = `packages/${name}`
    files[`${folder}/package.json`] = {
      name: `@understudy/${name}`,
      exports: { '.': './src/index.ts' },
      ...manifest,
      understudy,
    }
    files[`${folder}/README.md`] = `# @understudy/${name}\n\n## Install\n\n## Errors\n`
    for (const [path, text] of Object.entries(own)) files[`${folder}/${path}`] = text
  }
  return checkArchitecture(readWorkspace(tree(files))).violations.map(formatViolation)
}

const uses = (...names: string[]): object => ({
  dependencies: Object.fromEntries(names.map((name) => [name, '^0.1.0'])),
})

describe('the arrows', () => {
  test('imports of lower layers, declared, of their doors, break nothing', () => {
    expect(
      check({
        contracts: {
          files: {
            'src/a.ts': "import type { DatabaseSync } from 'node:sqlite'\nimport { b } from './b.ts'",
            'test/a.test.ts': "import { readFileSync } from 'node:fs'\nimport '../src/a.ts'",
          },
        },
        log: {
          manifest: {
            ...uses('@understudy/contracts', '@understudy/codec', 'third'),
            devDependencies: { '@understudy/testkit': '^0.1.0' },
          },
          files: {
            'src/a.ts':
              "import { x } from '@understudy/contracts'\nimport * as y from 'third/deep'\nimport fs from 'node:fs'",
            'test/a.test.ts':
              "import { test } from 'vitest'\nimport { suite } from '@understudy/testkit'\nimport { log } from '@understudy/log'\nimport '../src/a.ts'",
          },
        },
      }),
    ).toEqual([])
  })

  test.each([
    ['the same layer', 'wire', 2],
    ['a higher layer', 'node', 3],
  ])('an import of %s is refused, in src and in tests', (_, target, layer) => {
    const file = `import { x } from '@understudy/${target}'`
    const message = `@understudy/log (layer 2) may import only packages of a lower layer, not @understudy/${target} (layer ${layer})  [layer]`
    expect(check({ log: { files: { 'src/a.ts': file, 'test/a.test.ts': file } } })).toEqual([
      `packages/log/src/a.ts:1  ${message}`,
      `packages/log/test/a.test.ts:1  ${message}`,
    ])
    expect(check({ log: { manifest: uses(`@understudy/${target}`) } })).toEqual([
      `packages/log/package.json  ${message}`,
    ])
  })

  test.each([
    "export { x } from '@understudy/wire'",
    "export * from '@understudy/wire'",
    "import type { X } from '@understudy/wire'",
    "const x = await import('@understudy/wire')",
    "let y: import('@understudy/wire').Y",
    "import '@understudy/wire'",
  ])('%s is an import', (text) => {
    expect(check({ log: { files: { 'test/a.test.ts': text } } })).toHaveLength(1)
  })

  test('what only looks like an import is none', () => {
    const text =
      "// import x from '@understudy/wire'\nexport const text = \"import y from '@understudy/node'\""
    expect(check({ log: { files: { 'src/a.ts': text } } })).toEqual([])
  })

  test.each([
    "import { x } from '@understudy/codec'",
    "import { x } from 'third'",
    "import { x } from 'vitest'",
  ])('undeclared: %s', (text) => {
    const name = /'(.*)'/.exec(text)?.[1]
    expect(check({ log: { files: { 'src/a.ts': `\n${text}` } } })).toEqual([
      `packages/log/src/a.ts:2  ${name} is not in the dependencies of @understudy/log  [declared]`,
    ])
  })

  test('a test may use devDependencies, but nothing undeclared', () => {
    const files = { 'test/a.test.ts': "import { x } from 'third'\nimport { y } from 'fourth'" }
    expect(check({ log: { manifest: { devDependencies: { third: '1' } }, files } })).toEqual([
      'packages/log/test/a.test.ts:2  fourth is in neither dependencies nor devDependencies of @understudy/log  [declared]',
    ])
  })

  test('a devDependency does not serve src', () => {
    const files = { 'src/a.ts': "import type { X } from 'third'" }
    expect(check({ log: { manifest: { devDependencies: { third: '1' } }, files } })).toEqual([
      'packages/log/src/a.ts:1  third is not in the dependencies of @understudy/log  [declared]',
    ])
  })

  test('a package that does not exist is refused', () => {
    expect(check({ log: { files: { 'src/a.ts': "import '@understudy/gone'" } } })).toEqual([
      'packages/log/src/a.ts:1  @understudy/gone is no package of this repository  [declared]',
    ])
  })

  test('a deep import is refused, save where exports offer it', () => {
    const files = { 'src/a.ts': "import { x } from '@understudy/codec/src/x.ts'" }
    const manifest = uses('@understudy/codec')
    expect(check({ log: { manifest, files } })).toEqual([
      'packages/log/src/a.ts:1  @understudy/codec/src/x.ts reaches behind the public door of @understudy/codec  [deep]',
    ])
    const codec = { manifest: { exports: { '.': './a', './src/x.ts': './b' } } }
    expect(check({ codec, log: { manifest, files } })).toEqual([])
  })

  test('an import of another package by path is refused', () => {
    const files = {
      'src/deep/a.ts': "import { ok } from '../b.ts'\nimport { x } from '../../../codec/src/x.ts'",
      'test/a.test.ts': "import { y } from '../../../tools/src/y.ts'",
    }
    expect(check({ log: { files } })).toEqual([
      'packages/log/src/deep/a.ts:2  ../../../codec/src/x.ts leaves the package @understudy/log  [path]',
      'packages/log/test/a.test.ts:1  ../../../tools/src/y.ts leaves the package @understudy/log  [path]',
    ])
  })

  test('the testkit stays out of src', () => {
    const manifest = uses('@understudy/testkit')
    expect(check({ log: { manifest, files: { 'src/a.ts': "import '@understudy/testkit'" } } })).toEqual([
      'packages/log/src/a.ts:1  the testkit is for tests, not for src  [testkit]',
    ])
  })

  test.each([
    "import { x } from 'node:fs'",
    "import { DatabaseSync } from 'node:sqlite'",
    "import type { X } from 'third'",
  ])('contracts may not: %s', (text) => {
    const found = check({ contracts: { manifest: uses('third'), files: { 'src/a.ts': text } } })
    expect(found).toHaveLength(1)
    expect(found[0]).toContain('[contracts]')
  })

  test('a package without a layer is refused', () => {
    expect(check({ log: { manifest: { understudy: { layer: undefined } } } })).toEqual([
      'packages/log/package.json  "understudy": { "layer": … } is missing  [layer]',
    ])
  })
})

describe('purity', () => {
  const ambient = [
    'Date.now()',
    'performance.now()',
    'globalThis.performance.now()',
    "Date['now']()",
    'new Date()',
    'Math.random()',
    'process.hrtime.bigint()',
    'setTimeout(run, 1)',
    'setInterval(run, 1)',
    'globalThis.setTimeout(run, 1)',
    'const later = setTimeout',
    'const timers = { setTimeout }',
    'crypto.randomUUID()',
    "import { setTimeout as sleep } from 'node:timers/promises'",
    "import { randomFillSync } from 'node:crypto'",
  ]
  const pureOnly = [
    'setImmediate(run)',
    'queueMicrotask(run)',
    'process.nextTick(run)',
    "import { readFileSync } from 'node:fs'",
    "import { open } from 'fs/promises'",
    "import { connect } from 'node:net'",
    "import { Worker } from 'node:worker_threads'",
  ]
  const fine = [
    'new Date(ms).toISOString()',
    'clock.now()',
    'class A { setTimeout(): void {} }',
    'const options = { setTimeout: 1 }',
    'this.setTimeout(1)',
    'type T = ReturnType<typeof setTimeout>',
    "import { createHash } from 'node:crypto'",
    "import type { Socket } from 'node:net'",
    '// Date.now() would be wrong here',
  ]
  const pure = { manifest: { understudy: { pure: ['src/a.ts'] } } }
  const adapter = { manifest: { understudy: { adapters: ['src/a.ts'] } } }

  test.each(ambient)('outside adapters: %s', (text) => {
    const files = { 'src/a.ts': text }
    expect(check({ log: { files } })).toEqual([
      expect.stringMatching(/^packages\/log\/src\/a\.ts:1 .*\[ambient\]$/),
    ])
    expect(check({ log: { ...pure, files } })).toEqual([expect.stringContaining('[pure]')])
    expect(check({ log: { ...adapter, files } })).toEqual([])
    expect(check({ log: { files: { 'test/a.test.ts': text } } })).toEqual([])
  })

  test.each(pureOnly)('in a state machine alone: %s', (text) => {
    const files = { 'src/a.ts': text }
    expect(check({ log: { files } })).toEqual([])
    expect(check({ log: { ...pure, files } })).toEqual([expect.stringContaining('[pure]')])
  })

  test.each(fine)('anywhere: %s', (text) => {
    expect(check({ log: { ...pure, files: { 'src/a.ts': text } } })).toEqual([])
  })

  test('a folder may be listed with a slash', () => {
    const files = { 'src/real/a.ts': 'Date.now()', 'src/real.ts': 'Date.now()' }
    const found = check({ log: { manifest: { understudy: { adapters: ['src/real/'] } }, files } })
    expect(found).toEqual([expect.stringContaining('packages/log/src/real.ts:1')])
  })

  test('an entry that does not exist, or stands in both lists, is refused', () => {
    const manifest = { understudy: { pure: ['src/gone.ts', 'src/a.ts'], adapters: ['src/'] } }
    expect(check({ log: { manifest, files: { 'src/a.ts': '' } } })).toEqual([
      'packages/log/package.json  src/gone.ts does not exist  [lists]',
      'packages/log/package.json  src/gone.ts is pure and an adapter  [lists]',
      'packages/log/package.json  src/a.ts is pure and an adapter  [lists]',
    ])
  })
})

describe('shape', () => {
  test.each([
    'let count = 0',
    'export let count = 0',
    'var count = 0',
    'const seen = new Set()',
    'export const open: string[] = []',
    'const cache = new Map<string, number>()',
    'const cache: Map<string, number> = new Map()',
  ])('module-level state: %s', (text) => {
    expect(check({ log: { files: { 'src/a.ts': text } } })).toEqual([expect.stringContaining('[state]')])
    expect(check({ log: { files: { 'test/a.test.ts': text } } })).toEqual([])
  })

  test.each([
    "const names = new Set(['a'])",
    'const codes = [1]',
    'function f(): void { let x = 1 }',
    'const one = 1',
    'declare let x: number',
    'const none: readonly string[] = []',
    'const none: ReadonlySet<string> = new Set()',
  ])('no module-level state: %s', (text) => {
    expect(check({ log: { files: { 'src/a.ts': text } } })).toEqual([])
  })

  test.each([
    'export default 1',
    'const a = 1\nexport { a as default }',
    "export { a as default } from './b.ts'",
  ])('default export: %s', (text) => {
    expect(check({ log: { files: { 'src/a.ts': text } } })).toEqual([expect.stringContaining('[default]')])
  })

  test('generated code answers to the rules on imports alone', () => {
    const text = "import x from 'third'\nlet $root = x\nexport default $root"
    expect(check({ log: { files: { 'src/generated/a.js': text } } })).toEqual([
      expect.stringContaining('[declared]'),
    ])
  })

  test('a README needs title, install and errors; one in a code block does not count', () => {
    const files = { 'README.md': '# log\n\n```sh\n## Install\n```\n' }
    expect(check({ log: { files } })).toEqual([
      'packages/log/README.md  section "# @understudy/log" is missing  [readme]',
      'packages/log/README.md  section "## Install" is missing  [readme]',
      'packages/log/README.md  section "## Errors" is missing  [readme]',
    ])
    expect(
      check({ log: { manifest: { private: true }, files: { 'README.md': '# @understudy/log\n' } } }),
    ).toEqual([])
  })
})
