import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { checkArchitecture } from '../src/architecture.ts'
import { packageFiles } from '../src/new-package.ts'
import { readWorkspace, repositoryRoot } from '../src/workspace.ts'
import { tree } from './tree.ts'

const NEW = { name: 'transport-quic', layer: 2, description: 'Carries frames.', version: '0.1.0' }

test('a new package breaks no rule', () => {
  const files = Object.entries(packageFiles(NEW)).map(([path, text]) => [
    `packages/transport-quic/${path}`,
    text,
  ])
  const root = tree({ 'package.json': { name: 'root' }, ...Object.fromEntries(files) })
  expect(checkArchitecture(readWorkspace(root))).toEqual({ packages: 1, files: 1, violations: [] })
})

describe('every public package has what a new one has', () => {
  const root = repositoryRoot()
  const packages = readWorkspace(root).packages.filter(
    (each) => each.path.startsWith('packages/') && each.manifest.private !== true,
  )
  const skeleton = packageFiles(NEW)
  const manifest = JSON.parse(skeleton['package.json'] ?? '') as Record<string, unknown>
  const scripts = manifest['scripts'] as Record<string, string>

  test.each(packages.map((each) => [each.path, each] as const))('%s', (_, each) => {
    expect(Object.keys(skeleton).filter((path) => !existsSync(join(each.folder, path)))).toEqual([])
    expect(readFileSync(join(each.folder, 'vitest.config.ts'), 'utf8')).toBe(skeleton['vitest.config.ts'])
    const theirs = each.manifest as unknown as Record<string, unknown>
    for (const field of ['license', 'type', 'engines']) expect(theirs[field]).toEqual(manifest[field])
    expect(theirs['files']).toEqual(expect.arrayContaining(manifest['files'] as string[]))
    for (const script of ['typecheck', 'test', 'package-lint'])
      expect((theirs['scripts'] as Record<string, string>)[script]).toBe(scripts[script])
    expect(each.manifest.version).toBe(packages[0]?.manifest.version)
  })
})

test.each(['', 'Quic', '-a', 'a_b', '../x'])('"%s" is no name', (name) => {
  expect(() => packageFiles({ ...NEW, name })).toThrow('no name in kebab case')
})

test.each([-1, 1.5, Number.NaN])('%d is no layer', (layer) => {
  expect(() => packageFiles({ ...NEW, layer })).toThrow('no layer')
})
