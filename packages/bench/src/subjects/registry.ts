/** The subjects by name: Understudy and its peers, one file each, and those of the user's own by the path of their module. */
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { UnderstudyError } from '@understudy/contracts'
import { exported } from '../own-modules.ts'
import { subject as sqlite } from './sqlite.ts'
import { subject as understudy } from './understudy.ts'
import type { Subject } from './subject.ts'

/** A subject, and the URL of its module: the process of the load imports it from there. */
export interface SubjectModule {
  readonly subject: Subject
  readonly module: string
}

/** To add a peer: its file beside this one, and a line here. */
const PEERS: readonly SubjectModule[] = [{ subject: sqlite, module: moduleUrl('sqlite') }]

export const PEER_NAMES: readonly string[] = PEERS.map(({ subject }) => subject.name)

export function understudySubject(): SubjectModule {
  return { subject: understudy, module: moduleUrl('understudy') }
}

/** Throws `INVALID_ARGUMENT`. */
export function peerOf(name: string): SubjectModule {
  const found = PEERS.find(({ subject }) => subject.name === name)
  if (found !== undefined) return found
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `There is no peer ${name}; nothing was measured. Peers: ${PEER_NAMES.join(', ')}; none for none. One of your own: --peer with the path of a module that exports 'subject'.`,
  )
}

/** From a module that exports `subject`. Throws `INVALID_ARGUMENT`. */
export async function subjectFrom(file: string): Promise<SubjectModule> {
  const found = (await exported(file, 'subject')) as Partial<Subject>
  const { name, variants, find, start, connect } = found
  if (
    typeof name === 'string' &&
    Array.isArray(variants) &&
    [find, start, connect].every((method) => typeof method === 'function')
  )
    return { subject: found as Subject, module: pathToFileURL(path.resolve(file)).href }
  throw new UnderstudyError(
    'INVALID_ARGUMENT',
    `'subject' of ${file} is no subject: it needs name, title, variants, find, start and connect. Nothing was measured.`,
  )
}

function moduleUrl(name: string): string {
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
  return new URL(`./${name}${extension}`, import.meta.url).href
}
