/**
 * The names in a certificate, each as one string with its kind before it: `DNS:b.example`, `URI:understudy://b`,
 * `IP:10.0.0.2`, `CN:b`.
 *
 * Whoever has a certificate signed chooses the text of its names. Node writes all names of a certificate into one string,
 * and names with special characters as JSON strings (after CVE-2021-44532), so:
 *
 * 1. A name with a comma, a quote or a line break inside stays one name; nothing inside it becomes a name of its own.
 * 2. What cannot be read for certain makes all alternative names of the certificate count for nothing.
 * 3. Identities are for comparing whole. Kinds other than those four are left out.
 */
import type { X509Certificate } from 'node:crypto'
import { canonicalIp } from './ip.ts'

const SEPARATOR = ', '
/** A kind, as OpenSSL prints them: `DNS`, `IP Address`, `Registered ID`. */
const KIND = /^[A-Za-z][A-Za-z0-9 ]*$/
/** A JSON string at the beginning of a text. */
const QUOTED = /^"(?:[^"\\]|\\.)*"/

/** The names of a certificate; whether it can be trusted is for the caller to know. */
export function identitiesOf(certificate: X509Certificate): string[] {
  const names = alternativeNames(certificate.subjectAltName ?? '')
  const { CN } = certificate.toLegacyObject().subject as unknown as { CN?: unknown }
  // Several common names are a riddle, and a name that is none.
  if (typeof CN === 'string' && CN !== '') names.push(`CN:${CN}`)
  return [...new Set(names)]
}

/** Reads what Node has as `subjectAltName`. */
export function alternativeNames(text: string): string[] {
  const names: string[] = []
  let rest = text
  while (rest !== '') {
    const colon = rest.indexOf(':')
    if (colon < 1 || !KIND.test(rest.slice(0, colon))) return []
    const kind = rest.slice(0, colon)
    const written = valueAt(rest.slice(colon + 1))
    if (written === undefined) return []
    const value = written.startsWith('"') ? unquoted(written) : written
    if (value === undefined) return []
    const identity = identityOf(kind, value)
    if (identity !== undefined) names.push(identity)
    rest = rest.slice(colon + 1 + written.length)
    if (rest === '') break
    if (!rest.startsWith(SEPARATOR) || rest.length === SEPARATOR.length) return []
    rest = rest.slice(SEPARATOR.length)
  }
  return names
}

/** The value at the beginning, as it is written; undefined when that is no value. */
function valueAt(text: string): string | undefined {
  if (text.startsWith('"')) return QUOTED.exec(text)?.[0]
  const end = text.indexOf(SEPARATOR)
  return end === -1 ? text : text.slice(0, end)
}

function unquoted(written: string): string | undefined {
  try {
    return JSON.parse(written) as string
  } catch {
    return undefined
  }
}

function identityOf(kind: string, value: string): string | undefined {
  if (kind === 'DNS') return `DNS:${value.toLowerCase()}`
  if (kind === 'URI') return `URI:${value}`
  if (kind !== 'IP Address') return undefined
  const ip = canonicalIp(value)
  return ip === undefined ? undefined : `IP:${ip}`
}
