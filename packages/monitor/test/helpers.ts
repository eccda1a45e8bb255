/** Nodes and monitors of one test, closed and removed when it ends; asking over real HTTP; a small parser of Prometheus' text. */
import { mkdtempSync, rmSync } from 'node:fs'
import { get as httpGet, request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rowFormat } from '@understudy/format-row'
import { createNode, type NodeOptions, type UnderstudyNode } from '@understudy/node'
import { memoryTransport } from '@understudy/testkit/memory-transport'
import { onTestFinished } from 'vitest'
import { startMonitor, type Monitor, type MonitorOptions } from '../src/index.ts'

/** Heartbeats in which a test need not wait long. */
const LINK = { heartbeatMs: 40, deadlineMs: 400 }

export class Cluster {
  readonly #folder = mkdtempSync(join(tmpdir(), 'understudy-monitor-'))
  readonly #transport = memoryTransport()

  constructor() {
    onTestFinished(() => rmSync(this.#folder, { recursive: true, force: true }))
  }

  async start(
    name: string,
    role: 'leader' | 'follower',
    more: Partial<NodeOptions> = {},
  ): Promise<UnderstudyNode> {
    const node = await createNode({
      name,
      role,
      directory: join(this.#folder, name),
      format: rowFormat(),
      transport: this.#transport,
      listen: `memory://${name}`,
      link: LINK,
      ...(role === 'follower' && { leader: 'memory://a' }),
      ...more,
    })
    onTestFinished(() => node.close())
    return node
  }
}

export async function monitor(options: Partial<MonitorOptions> = {}): Promise<Monitor> {
  const started = await startMonitor({ listen: 'http://127.0.0.1:0', ...options })
  onTestFinished(() => started.close())
  return started
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly text: string
  /** The body as JSON. */
  readonly json: Record<string, unknown>
}

export async function ask(
  url: string,
  options: RequestOptions & { readonly body?: string } = {},
): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const request = httpRequest(url, { agent: false, ...options }, resolve)
  request.once('error', reject).end(options.body)
  const response = await promise
  let text = ''
  for await (const part of response.setEncoding('utf8')) text += part
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    text,
    get json() {
      return JSON.parse(text) as Record<string, unknown>
    },
  }
}

/** Asks until the answer fits: time passes by the asking alone. */
export async function askUntil(url: string, fits: (answer: Answer) => boolean): Promise<Answer> {
  for (;;) {
    const answer = await ask(url)
    if (fits(answer)) return answer
  }
}

/** Frames of a stream of events; `close` ends it from this side. */
export interface EventReader {
  readonly response: IncomingMessage
  next(): Promise<
    { readonly id: string; readonly event: string; readonly data: Record<string, unknown> } | undefined
  >
  close(): void
}

export async function readEvents(url: string): Promise<EventReader> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const request = httpGet(url, { agent: false }, resolve).once('error', reject)
  const response = await promise
  onTestFinished(() => void request.destroy())
  const parts = (response.setEncoding('utf8') as AsyncIterable<string>)[Symbol.asyncIterator]()
  let text = ''
  return {
    response,
    close: () => void request.destroy(),
    async next() {
      for (;;) {
        const end = text.indexOf('\n\n')
        if (end >= 0) {
          const lines = text.slice(0, end).split('\n')
          text = text.slice(end + 2)
          const field = (name: string): string | undefined =>
            lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2)
          const data = field('data')
          if (data === undefined) continue
          return {
            id: field('id') ?? '',
            event: field('event') ?? '',
            data: JSON.parse(data) as Record<string, unknown>,
          }
        }
        const part = await parts.next()
        if (part.done === true) return undefined
        text += part.value
      }
    },
  }
}

export interface Scrape {
  readonly types: ReadonlyMap<string, string>
  /** By name with labels as they stand: `understudy_slot_lsn{slot="b"}`. */
  readonly samples: ReadonlyMap<string, number>
}

/** Reads text version 0.0.4 and is strict about it: https://prometheus.io/docs/instrumenting/exposition_formats/ */
export function parsePrometheus(text: string): Scrape {
  const types = new Map<string, string>()
  const helps = new Set<string>()
  const samples = new Map<string, number>()
  if (!text.endsWith('\n')) throw new Error('the last line has no end')
  for (const line of text.split('\n')) {
    if (line === '') continue
    const comment = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line)
    if (comment !== null) {
      const [, kind = '', name = '', rest = ''] = comment
      if (kind === 'HELP') helps.add(name)
      else if (types.has(name)) throw new Error(`${name} has two types`)
      else types.set(name, rest)
      continue
    }
    const sample =
      /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (\+Inf|-Inf|NaN|[-+.eE0-9]+)$/.exec(
        line,
      )
    if (sample === null) throw new Error(`no line of the format: ${line}`)
    const [, name = '', labels = '', value = ''] = sample
    const family = [name, name.replace(/_(bucket|sum|count)$/, '')].find((each) => types.has(each))
    if (family === undefined || !helps.has(family)) throw new Error(`${name} has no type or help before it`)
    if (samples.has(name + labels)) throw new Error(`${name}${labels} comes twice`)
    samples.set(name + labels, value === '+Inf' ? Infinity : Number(value))
  }
  return { types, samples }
}
