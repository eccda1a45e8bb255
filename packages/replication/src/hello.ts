/** How a node that wants records begins: who it is, where its log ends, what it can apply. */
import type { Log, LogFormat } from '@understudy/contracts'
import { PROTOCOL_VERSION, PROTOCOL_VERSION_MIN, type Hello } from '@understudy/protocol'
import { formatVersion } from './format-versions.ts'

export interface Follower<C> {
  readonly log: Log
  readonly cluster: string
  readonly node: string
  readonly formats: readonly LogFormat<C>[]
}

export function helloForRecords<C>({ log, cluster, node, formats }: Follower<C>, connection: C): Hello {
  return {
    type: 'hello',
    versionMin: PROTOCOL_VERSION_MIN,
    versionMax: PROTOCOL_VERSION,
    purpose: 'replicate',
    cluster,
    node,
    history: log.history,
    end: log.end,
    formats: formats.map((format) => formatVersion(format, connection)),
  }
}
