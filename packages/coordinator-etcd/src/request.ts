/**
 * One request to one member, over HTTP with JSON: etcd's own gateway to its gRPC interface.
 *
 * 1. What ends without an answer says whether the request can have reached the member.
 * 2. An answer is read up to a limit, and is JSON or none.
 */
import {
  Agent as HttpAgent,
  request as requestHttp,
  type ClientRequest,
  type IncomingMessage,
} from 'node:http'
import { Agent as HttpsAgent, request as requestHttps } from 'node:https'
import { certificates, diallerTls, isTlsError, tlsFailed, type Certificates } from '@understudy/sockets'
import type { Clock, UnderstudyError } from '@understudy/contracts'
import type { Settings } from './options.ts'

/** Far above the largest state with its lease. */
const ANSWER_BYTES_MAX = 4 * 1024 * 1024

export interface Call {
  readonly endpoint: URL
  readonly path: string
  readonly body: unknown
  readonly token?: string | undefined
  readonly signal: AbortSignal
}

export interface Answer {
  readonly status: number
  /** Undefined: it was no JSON. */
  readonly json: unknown
}

/** No answer came. */
export class NoAnswer extends Error {
  override readonly name = 'NoAnswer'
  /** The request may have been carried out. */
  readonly mayHaveArrived: boolean
  /** Of TLS. */
  readonly refusal: UnderstudyError | undefined

  constructor(cause: unknown, mayHaveArrived: boolean, refusal?: UnderstudyError) {
    super(cause instanceof Error ? cause.message || cause.name : String(cause), { cause })
    this.mayHaveArrived = mayHaveArrived
    this.refusal = refusal
  }
}

/** Connections to the members, kept between requests. */
export class Requests {
  readonly #certificates: Certificates | undefined
  readonly #http = new HttpAgent({ keepAlive: true })
  #https = new HttpsAgent({ keepAlive: true, maxCachedSessions: 0 })

  /** Throws `TLS_FAILED` when certificates cannot be used. */
  constructor(settings: Pick<Settings, 'tls'>, clock: Clock) {
    this.#certificates = settings.tls && certificates(settings.tls, { clock })
    this.#certificates?.onChange(() => {
      // Connections with the old certificate end with what is under way on them.
      this.#https.destroy()
      this.#https = new HttpsAgent({ keepAlive: true, maxCachedSessions: 0 })
    })
  }

  /** Rejects with `NoAnswer`. */
  async send(call: Call): Promise<Answer> {
    const { response, sent } = await this.open(call)
    const chunks: Buffer[] = []
    let bytes = 0
    try {
      for await (const chunk of response as AsyncIterable<Buffer>) {
        bytes += chunk.byteLength
        if (bytes > ANSWER_BYTES_MAX) throw new Error(`the answer has more than ${ANSWER_BYTES_MAX} bytes`)
        chunks.push(chunk)
      }
    } catch (error) {
      response.destroy()
      throw new NoAnswer(error, sent())
    }
    return { status: response.statusCode ?? 0, json: parsed(Buffer.concat(chunks).toString()) }
  }

  /** The beginning of the answer; its body is still to come. Rejects with `NoAnswer`. */
  open({
    endpoint,
    path,
    body,
    token,
    signal,
  }: Call): Promise<{ response: IncomingMessage; sent: () => boolean }> {
    const payload = Buffer.from(JSON.stringify(body))
    let isSent = false
    return new Promise((resolve, reject) => {
      const fail = (cause: Error): void => {
        const refusal = isTlsError(cause) ? tlsFailed(endpoint.origin, cause) : undefined
        reject(new NoAnswer(signal.aborted ? (signal.reason as unknown) : cause, isSent, refusal))
      }
      let request: ClientRequest
      try {
        request = this.#begin(endpoint, path, {
          method: 'POST',
          signal,
          headers: {
            'content-type': 'application/json',
            'content-length': payload.byteLength,
            ...(token === undefined ? {} : { authorization: token }),
          },
        })
      } catch (error) {
        reject(new NoAnswer(error, false))
        return
      }
      request.once('error', fail)
      request.once('response', (response) => {
        isSent = true
        resolve({ response, sent: () => true })
      })
      request.once('socket', (socket) => {
        const ready = endpoint.protocol === 'https:' ? 'secureConnect' : 'connect'
        // In doubt it was sent.
        if (!socket.connecting) isSent = true
        else
          socket.once(ready, () => {
            isSent = true
          })
      })
      request.end(payload)
    })
  }

  close(): void {
    this.#certificates?.close()
    this.#http.destroy()
    this.#https.destroy()
  }

  #begin(
    endpoint: URL,
    path: string,
    options: { method: string; signal: AbortSignal; headers: Record<string, string | number> },
  ): ClientRequest {
    const url = new URL(path, endpoint)
    if (endpoint.protocol === 'http:') return requestHttp(url, { ...options, agent: this.#http })
    if (this.#certificates === undefined) throw new Error('there are no certificates')
    const host = endpoint.hostname.replace(/^\[(.*)\]$/, '$1')
    return requestHttps(url, { ...options, ...diallerTls(this.#certificates, host), agent: this.#https })
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
