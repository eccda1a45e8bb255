/**
 * Packs every public package as it would be published, with what it depends on, and installs the tarballs in a foreign
 * project, without a registry.
 *
 * Decides how a package is built and packed outside of the checkout. Leaves to its test what the foreign project does.
 *
 * 1. Packages are built in a copy, from clean, so that neither a stale nor a half-written dist is packed, and no other
 *    build of the checkout is disturbed.
 * 2. What they depend on is packed from the root's node_modules. npm gets an empty cache and no network: what installs
 *    here installs from the tarballs alone.
 */
import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import type { Manifest, Package, Workspace } from './workspace.ts'

const run = promisify(execFile)

export interface Tarballs {
  /** Package name → path of its tarball; third-party packages included. */
  readonly paths: ReadonlyMap<string, string>
  /** The packages of this repository among them. */
  readonly own: readonly Package[]
}

/** The packages that are published. */
export function publicPackages(workspace: Workspace): Package[] {
  return workspace.packages.filter((each) => each.manifest.private !== true)
}

/** Builds and packs all public packages and what they depend on, in `folder`. Throws with the output of what failed. */
export async function packAll(workspace: Workspace, folder: string): Promise<Tarballs> {
  const own = publicPackages(workspace)
  const stage = join(folder, 'stage')
  mkdirSync(join(stage, 'packages'), { recursive: true })
  cpSync(join(workspace.root, 'tsconfig.base.json'), join(stage, 'tsconfig.base.json'))
  symlinkSync(join(workspace.root, 'node_modules'), join(stage, 'node_modules'))
  await inTurns(own, 2, (each) => buildCopy(each, stage))

  const foreign = [...thirdParty(workspace.root, own)]
  const folders = [
    ...own.map((each) => join(stage, each.path)),
    ...foreign.map((name) => join(workspace.root, 'node_modules', name)),
  ]
  const packed = join(folder, 'packed')
  mkdirSync(packed)
  const { stdout } = await npm(folder, ['pack', ...folders, '--pack-destination', packed, '--json'])
  const paths = new Map<string, string>()
  for (const { name, filename } of packResults(stdout)) paths.set(name, join(packed, basename(filename)))
  return { paths, own }
}

/** Installs all tarballs in `folder`, an empty project. */
export async function installTarballs(tarballs: Tarballs, folder: string): Promise<void> {
  const dependencies: Record<string, string> = {}
  for (const [name, path] of tarballs.paths) dependencies[name] = `file:${path}`
  mkdirSync(folder, { recursive: true })
  // Of a package of others that two need in different versions there is one tarball: nothing is fetched.
  const own = new Set(tarballs.own.map((each) => each.name))
  const foreign = [...tarballs.paths.keys()].filter((name) => !own.has(name))
  const overrides = Object.fromEntries(foreign.map((name) => [name, `$${name}`]))
  const about = { name: 'consumer', version: '1.0.0', private: true, type: 'module' }
  const manifest = { ...about, dependencies, overrides }
  writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest, undefined, 2))
  await npm(folder, ['install', '--legacy-peer-deps', '--no-package-lock'])
}

async function buildCopy(owner: Package, stage: string): Promise<void> {
  const target = join(stage, owner.path)
  const left = new Set(['node_modules', 'dist', 'test', '.vitest'].map((name) => join(owner.folder, name)))
  cpSync(owner.folder, target, { recursive: true, filter: (source) => !left.has(source) })
  await npm(target, ['run', 'build'], { scripts: true })
}

/** Names of the packages of others that the given ones need at run time, with what those need in turn. */
function thirdParty(root: string, own: readonly Package[]): Set<string> {
  const ours = new Set(own.map((each) => each.name))
  const found = new Set<string>()
  const add = (manifest: Manifest): void => {
    for (const name of Object.keys(manifest.dependencies ?? {})) {
      if (ours.has(name) || found.has(name)) continue
      found.add(name)
      const path = join(root, 'node_modules', name, 'package.json')
      if (!existsSync(path)) throw new Error(`${manifest.name} depends on ${name}, which is not installed`)
      add(JSON.parse(readFileSync(path, 'utf8')) as Manifest)
    }
  }
  for (const each of own) add(each.manifest)
  return found
}

interface PackResult {
  readonly name: string
  readonly filename: string
}

/** npm 11 prints a list, later ones an object by name. */
function packResults(stdout: string): PackResult[] {
  const value = JSON.parse(stdout) as PackResult[] | Record<string, PackResult>
  return Array.isArray(value) ? value : Object.values(value)
}

/** Throws with what npm printed. */
async function npm(
  folder: string,
  args: readonly string[],
  options: { readonly scripts?: boolean } = {},
): Promise<{ stdout: string }> {
  const quiet = ['--offline', '--no-audit', '--no-fund', '--loglevel=error']
  const scripts = options.scripts === true ? [] : ['--ignore-scripts']
  // An environment of its own: npm hands settings of an outer `npm test` down to every npm below it.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name)))
  try {
    return await run('npm', [...args, ...quiet, ...scripts], {
      cwd: folder,
      env: { ...env, npm_config_cache: join(folder, '.npm-cache') },
      maxBuffer: 64 * 1024 * 1024,
    })
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string }
    throw new Error(`npm ${args[0]} failed in ${folder}:\n${stdout ?? ''}${stderr ?? ''}`, { cause: error })
  }
}

/** Runs a task for each item, at most `parallel` at once. */
async function inTurns<T>(
  items: readonly T[],
  parallel: number,
  task: (item: T) => Promise<void>,
): Promise<void> {
  const queue = [...items]
  const worker = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await task(item)
  }
  await Promise.all(Array.from({ length: parallel }, worker))
}
