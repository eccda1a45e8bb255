/** Modules of the user's own, by their path: workloads, peers, log formats, transports, ack policies. */
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { UnderstudyError } from '@understudy/contracts'

/** Whether a name means a module of the user's own. */
export function isPath(name: string): boolean {
  return /[/\\]|\.[cm]?[jt]s$/.test(name)
}

/** What a module of the user's own exports. Throws `INVALID_ARGUMENT`. */
export async function exported(file: string, name: string): Promise<object> {
  const found = await exportOf(file, name)
  if (typeof found === 'object' && found !== null) return found
  throw missing(file, name)
}

/** The same for a function that makes something. */
export async function exportedFactory(file: string, name: string): Promise<(...given: unknown[]) => unknown> {
  const found = await exportOf(file, name)
  if (typeof found === 'function') return found as (...given: unknown[]) => unknown
  throw missing(file, name)
}

async function exportOf(file: string, name: string): Promise<unknown> {
  let module: Readonly<Record<string, unknown>>
  try {
    module = (await import(pathToFileURL(path.resolve(file)).href)) as Readonly<Record<string, unknown>>
  } catch (error) {
    throw new UnderstudyError(
      'INVALID_ARGUMENT',
      `${file} cannot be loaded: ${error instanceof Error ? error.message : String(error)} Nothing was measured.`,
      { cause: error },
    )
  }
  return module[name]
}

function missing(file: string, name: string): UnderstudyError {
  return new UnderstudyError(
    'INVALID_ARGUMENT',
    `${file} exports no '${name}'; nothing was measured. Export it by that name.`,
  )
}
