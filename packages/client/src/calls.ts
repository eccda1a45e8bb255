/** What the parts of a client need of its connection. */
import type { RequestBody, ResponseBody } from '@understudy/protocol'

export interface Waiting {
  /** Milliseconds to wait for the answer. */
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

/** Asks, and resolves with the answer of that kind. Rejects as every call of a client does. */
export type Ask = <K extends ResponseBody['kind']>(
  kind: K,
  body: RequestBody,
  waiting: Waiting,
) => Promise<Extract<ResponseBody, { kind: K }>>

export interface Calls {
  readonly ask: Ask
  /** Of a call that says nothing else. */
  readonly timeoutMs: number
  /** The answer to a request with a deadline needs time to travel: so much more is waited. */
  readonly travelMs: number
  /** A number that no other handle of the connection has. */
  nextHandle(): number
}
