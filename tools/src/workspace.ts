/**
 * The packages of this repository, as their package.json files describe them.
 *
 * Decides what a package is: a folder of packages/, and the folders tools and examples, with a package.json. Leaves to
 * others what is to be checked of them.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** What the repository's own scripts read of a package.json. */
export interface Manifest {
  readonly name: string
  readonly version?: string
  readonly private?: boolean
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly bin?: Readonly<Record<string, string>>
  readonly exports?: Readonly<Record<string, unknown>>
  readonly understudy?: {
    /** A package imports only packages of a lower layer. */
    readonly layer?: number
    /** Files that are state machines: no time, randomness, files or sockets. Paths from the package's folder. */
    readonly pure?: readonly string[]
    /** Files, or folders with a closing slash, that may touch time and randomness themselves. */
    readonly adapters?: readonly string[]
  }
}

export interface Package {
  readonly name: string
  /** From the root, with slashes: `packages/log`. */
  readonly path: string
  /** Absolute. */
  readonly folder: string
  readonly manifest: Manifest
}

export interface Workspace {
  readonly root: string
  readonly manifest: Manifest
  readonly packages: readonly Package[]
}

/** The root of the repository that this script stands in. */
export function repositoryRoot(): string {
  return resolve(dirname(fileURLToPath(import.meta.url)), '../..')
}

export function readWorkspace(root: string): Workspace {
  const packagesFolder = join(root, 'packages')
  const inside = existsSync(packagesFolder)
    ? readdirSync(packagesFolder).map((name) => `packages/${name}`)
    : []
  const packages = [...inside, 'examples', 'tools']
    .filter((path) => existsSync(join(root, path, 'package.json')))
    .map((path): Package => {
      const folder = join(root, path)
      const manifest = readManifest(folder)
      return { name: manifest.name, path, folder, manifest }
    })
  return { root, manifest: readManifest(root), packages }
}

function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest
}

const SKIPPED_FOLDERS = new Set(['node_modules', 'dist', 'fixtures', 'coverage'])

/** Source files of a folder, with slashes, relative to it, sorted; no declarations, no tool configuration. */
export function sourceFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      if (entry.name.startsWith('.')) return []
      if (entry.isDirectory()) {
        if (SKIPPED_FOLDERS.has(entry.name)) return []
        return sourceFiles(join(folder, entry.name)).map((file) => `${entry.name}/${file}`)
      }
      const isSource = /\.(ts|mts|js|mjs)$/.test(entry.name) && !/\.d\.m?ts$/.test(entry.name)
      return isSource && entry.name !== 'vitest.config.ts' ? [entry.name] : []
    })
    .sort()
}
