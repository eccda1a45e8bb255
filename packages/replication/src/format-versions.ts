/** What peers tell each other of their log formats: which they have, and what a format needs its peers to share. */
import type { LogFormat } from '@understudy/contracts'
import type { FormatVersion } from '@understudy/protocol'

export function formatVersion<C>(format: LogFormat<C>, connection: C): FormatVersion {
  const fingerprint = format.fingerprint?.(connection)
  const { id, version } = format
  return fingerprint === undefined ? { id, version } : { id, version, fingerprint }
}

/** Why a peer cannot apply what this node writes in `format`; `undefined` when it can, or did not say what it shares. */
export function incompatibility<C>(
  format: LogFormat<C>,
  own: string | undefined,
  theirs: string | undefined,
): string | undefined {
  if (own === undefined || theirs === undefined) return undefined
  if (format.accepts !== undefined) return format.accepts(own, theirs)
  return own === theirs ? undefined : `it has ${theirs}, the leader ${own}`
}
