/** The credential of this end: from a file, or from the environment; never from a command line, which everybody sees. */
import { UnderstudyError } from '@understudy/contracts'
import type { Credential } from '@understudy/protocol'
import { invalid, readPrivateFile } from './private-file.ts'
import { bytesOf, Fault, parseCredential } from './schema.ts'

/** Throws `CREDENTIALS_INVALID`: it cannot be read, others can read it too, or it is none. */
export function readCredential(path: string): Credential {
  const { text } = readPrivateFile(path)
  try {
    return parseCredential(text)
  } catch (error) {
    if (error instanceof Fault) throw invalid(path, error.message, 'Make one with `understudy credential`.')
    throw error
  }
}

/**
 * What `UNDERSTUDY_CREDENTIAL_FILE` (a path) or `UNDERSTUDY_CREDENTIAL` (`name:secret`, the secret in base64url) say;
 * `undefined` when neither is set. Throws `CREDENTIALS_INVALID`.
 */
export function credentialFromEnvironment(environment: NodeJS.ProcessEnv): Credential | undefined {
  const path = environment['UNDERSTUDY_CREDENTIAL_FILE']
  const value = environment['UNDERSTUDY_CREDENTIAL']
  if (path !== undefined && value !== undefined)
    throw new UnderstudyError(
      'CREDENTIALS_INVALID',
      'Both UNDERSTUDY_CREDENTIAL_FILE and UNDERSTUDY_CREDENTIAL are set, so it is open which one is meant. Nothing was started; unset one.',
    )
  if (path !== undefined) return readCredential(path)
  if (value === undefined) return undefined
  const colon = value.lastIndexOf(':')
  try {
    if (colon < 1) throw new Fault('has no name before a colon')
    return { name: value.slice(0, colon), secret: bytesOf(value.slice(colon + 1), 'has a secret that') }
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    throw new UnderstudyError(
      'CREDENTIALS_INVALID',
      `UNDERSTUDY_CREDENTIAL ${error.message}. Nothing was started; write it as name:secret, as \`understudy credential\` puts them into a file.`,
    )
  }
}
