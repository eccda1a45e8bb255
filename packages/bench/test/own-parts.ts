/** A log format, a transport and an ack policy of one's own: what a test names by the path of this file. */
import type { LogFormat, SqliteConnection, Transport } from '@understudy/contracts'
import { rowFormat } from '@understudy/format-row'
import { semiSync, type AckPolicy } from '@understudy/node'
import { webSocket } from '@understudy/transport-ws'

export const format = (): LogFormat<SqliteConnection> => rowFormat()
export const transport = (): Transport => webSocket()
export const acks = (followers: readonly string[]): AckPolicy => semiSync(followers, { level: 'applied' })
