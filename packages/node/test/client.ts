/** A bare client of one node: one request at a time. */
import { ORIGIN, systemClock, systemRandom, type Transport } from '@understudy/contracts'
import { dial, type Credential, type RequestBody, type ResponseBody } from '@understudy/protocol'
import { onTestFinished } from 'vitest'

export type Ask = (body: RequestBody) => Promise<ResponseBody>

export async function clientOf(
  { transport }: { readonly transport: Transport },
  name: string,
  credential?: Credential,
): Promise<Ask> {
  const connection = await dial({
    transport,
    address: `memory://${name}`,
    clock: systemClock(),
    timeoutMs: 1000,
    frameBytesMax: 1 << 20,
    as: credential && { credential, random: systemRandom() },
  })
  onTestFinished(() => connection.close())
  const hello = { node: 'test', cluster: '', history: [], end: ORIGIN, formats: [] }
  connection.send({ type: 'hello', versionMin: 1, versionMax: 1, purpose: 'client', ...hello })
  await connection.next({ timeoutMs: 1000 })
  let id = 0
  return async (body) => {
    connection.send({ type: 'request', id: ++id, body })
    const message = await connection.next({ timeoutMs: 10_000 })
    if (message.type !== 'response') throw new Error(message.type)
    return message.body
  }
}
