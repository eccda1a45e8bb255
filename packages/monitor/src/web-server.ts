/**
 * An HTTP server for a few readers: GET and HEAD, no body, small headers, everything with a limit.
 *
 * Decides: who is answered at all. Leaves to others: what the answers are.
 *
 * 1. An address that other machines reach is listened on only when somebody says in so many words that it may be.
 * 2. On a loopback address a request is answered only when it names one: a page in a browser of this machine could else reach it by a name
 *    of its own that resolves here.
 * 3. No answer may be kept or be taken for a page.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { UnderstudyError } from '@understudy/contracts'
import { formatAddress, insecureAddress, isLoopback, listenFailed, parseAddress } from '@understudy/sockets'
import type { MonitorLimits } from './options.ts'

export interface WebAnswer {
  readonly status: number
  readonly type: string
  readonly body: string
}

export interface WebServer {
  /** With the real port. */
  readonly address: string
  close(): Promise<void>
}

export interface WebServerOptions {
  readonly listen: string
  readonly insecure: boolean
  readonly limits: MonitorLimits
  /** Answers at once, or later, or takes the response over (`undefined`). */
  readonly answer: (url: URL, response: ServerResponse) => Promise<WebAnswer | undefined>
}

/** Throws `ADDRESS_INVALID`, `INSECURE_ADDRESS`, `LISTEN_FAILED`. */
export async function openWebServer(options: WebServerOptions): Promise<WebServer> {
  const { listen, insecure, limits } = options
  const endpoint = parseAddress(listen, { schemes: ['http'], ports: { http: 80 } })
  const { host, port } = endpoint
  if (insecureAddress(listen, { encrypted: false, authenticated: false, insecure })) throw reachable(listen)
  let isLocal = isLoopback(host)
  const server = createServer(
    {
      maxHeaderSize: limits.headerBytesMax,
      headersTimeout: limits.requestTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      keepAliveTimeout: limits.requestTimeoutMs,
      connectionsCheckingInterval: 1000,
      requireHostHeader: true,
    },
    (request, response) => {
      // Whoever is gone is told nothing.
      request.on('error', () => undefined)
      response.on('error', () => undefined)
      respond(request, response, isLocal, options).catch(() => response.destroy())
    },
  )
  server.maxConnections = limits.connectionsMax
  // Whoever neither sends nor takes anything; a stream of events beats more often.
  server.timeout = Math.max(limits.eventsStallMs, 2 * limits.eventsBeatMs)
  // Nothing but requests: what asks for more ends.
  server.on('upgrade', (_request, socket) => socket.destroy())
  const bound = await bind(server, listen, { host, port })
  // A name may have resolved to an address that others reach.
  if (!insecure && !isLoopback(bound.address)) {
    await closeServer(server)
    throw reachable(listen)
  }
  isLocal = isLoopback(bound.address)
  return {
    address: formatAddress({ ...endpoint, port: bound.port }),
    close: () => closeServer(server),
  }
}

async function bind(
  server: Server,
  listen: string,
  endpoint: { readonly host: string; readonly port: number },
): Promise<AddressInfo> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const onError = (error: NodeJS.ErrnoException): void => reject(listenFailed(listen, error))
  server.once('error', onError).listen(endpoint, resolve)
  await promise
  server.off('error', onError)
  return server.address() as AddressInfo
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  isLocal: boolean,
  { answer }: WebServerOptions,
): Promise<void> {
  const refusal = refusalOf(request, isLocal)
  const url = new URL(request.url ?? '/', 'http://monitor')
  const found = refusal ?? (await answer(url, response))
  if (found === undefined) return
  const { status, type, body } = found
  response.writeHead(status, {
    ...HEADERS,
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(body),
    ...(status === 405 && { Allow: 'GET, HEAD' }),
    // What is left of a request that was not read must not be taken for the next one.
    ...(refusal !== undefined && { Connection: 'close' }),
  })
  response.end(request.method === 'HEAD' ? undefined : body)
}

/** Of every answer: nobody keeps it, and a browser takes it for nothing but what it says it is. */
export const HEADERS: Readonly<Record<string, string>> = Object.freeze({
  'Cache-Control': 'no-store',
  'X-Content-Type-Options': 'nosniff',
  'Content-Security-Policy': "default-src 'none'",
})

function refusalOf({ method, headers, url }: IncomingMessage, isLocal: boolean): WebAnswer | undefined {
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0
  if (hasBody) return plain(413, 'A request of a monitor has no body.')
  if (method !== 'GET' && method !== 'HEAD') return plain(405, 'There are only GET and HEAD.')
  if (!URL.canParse(url ?? '', 'http://monitor')) return plain(400, 'The path cannot be read.')
  if (isLocal && !namesLoopback(headers.host ?? ''))
    return plain(403, 'Ask for it by an address of this machine, or localhost.')
  return undefined
}

function namesLoopback(host: string): boolean {
  const url = URL.canParse(`http://${host}`) ? new URL(`http://${host}`) : undefined
  return url !== undefined && isLoopback(url.hostname.replace(/^\[(.*)\]$/, '$1'))
}

function plain(status: number, text: string): WebAnswer {
  return { status, type: 'text/plain; charset=utf-8', body: `${text}\n` }
}

function reachable(listen: string): UnderstudyError {
  return new UnderstudyError(
    'INSECURE_ADDRESS',
    `${listen} can be reached from other machines, and a monitor neither encrypts nor asks who is there: whoever reaches it sees names, positions and events of this node. ` +
      'Nothing was opened; listen on 127.0.0.1 or [::1], behind a proxy that authenticates where others must see it, or set insecure: true on a network where every machine is trusted.',
    { address: listen },
  )
}
