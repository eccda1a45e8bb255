/**
 * Reads PEM texts and files.
 *
 * 1. A file with a private key that anybody but its owner may open is refused before it is used.
 * 2. The mode is that of the file that was read, not of a name that could have changed meanwhile.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'
import { UnderstudyError } from '@understudy/contracts'
import type { PemSource } from './options.ts'

/** Far more than any bundle of authorities. */
const FILE_BYTES_MAX = 4 * 1024 * 1024
const PRIVATE_KEY = 'PRIVATE KEY-----'

/** What reads files; a test has its own. Throws what the operating system says. */
export type ReadPem = (path: string) => { readonly text: string; readonly mode: number }

/** Reads a file of the disk. */
export function readPemFile(path: string): { text: string; mode: number } {
  // Without waiting: opening a pipe would hang until somebody writes.
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const stat = fstatSync(descriptor)
    if (!stat.isFile()) throw new Error('it is no file')
    if (stat.size > FILE_BYTES_MAX) throw new Error(`it is larger than ${FILE_BYTES_MAX} bytes`)
    return { text: readFileSync(descriptor, 'utf8'), mode: stat.mode }
  } finally {
    closeSync(descriptor)
  }
}

/** The text of a source. `option` names it in errors. Throws `TLS_FAILED`. */
export function readPem(source: PemSource, option: string, read: ReadPem): string {
  if (typeof source === 'string') return checked(source, option)
  const { file } = source
  let content
  try {
    content = read(file)
  } catch (cause) {
    throw unusable(
      `${option} ("${file}") cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
      'correct the path, or let this process read it',
      { file, cause },
    )
  }
  if (content.text.includes(PRIVATE_KEY) && (content.mode & 0o077) !== 0)
    throw unusable(
      `${option} ("${file}") holds a private key and others may open it (mode ${(content.mode & 0o777).toString(8)})`,
      `run chmod 600 on it, and renew the key if somebody could have read it`,
      { file },
    )
  return checked(content.text, `${option} ("${file}")`)
}

/** A path given as a text, the usual mistake, says so. */
function checked(text: string, what: string): string {
  if (text.includes('-----BEGIN ')) return text
  throw unusable(
    `${what} is no PEM text`,
    'give { file: "…" } for a file, or the text with its BEGIN line',
    {},
  )
}

/** The certificates in a text, one PEM block each. */
export function blocksOf(text: string): string[] {
  return text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
}

/** The error of a certificate or key that cannot be used. */
export function unusable(what: string, advice: string, details: Record<string, unknown>): UnderstudyError {
  return new UnderstudyError('TLS_FAILED', `${what}. It was not taken into use; ${advice}.`, details)
}
