/**
 * `startMonitor`: an HTTP listener beside a node, for those who operate it.
 *
 * Decides: which path is answered with what. Leaves to others: what is healthy and ready (pure functions of a status), metrics, the server.
 *
 * 1. It works before the node has started, so that a start that takes long can be watched: give `observe` to `createNode`.
 * 2. Nothing is computed unless somebody asks; of the node it uses status, measures and events alone.
 * 3. Closing the monitor leaves the node as it is; closing the node leaves the monitor answering that it is closed.
 */
import type { ServerResponse } from 'node:http'
import { UnderstudyError, systemClock, type Clock } from '@understudy/contracts'
import type { EventStream, NodeStatus, ObservedNode } from '@understudy/node'
import { sendEvents } from './event-stream.ts'
import { healthOf } from './health.ts'
import { toJson } from './json.ts'
import { createMetrics, type Metrics } from './metrics.ts'
import { resolveLimits, type MonitorLimits, type MonitorOptions } from './options.ts'
import { readinessOf, readQuestion } from './readiness.ts'
import { roleOf } from './roles.ts'
import { HEADERS, openWebServer, type WebAnswer, type WebServer } from './web-server.ts'

export interface Monitor extends AsyncDisposable {
  /** Where it answers, with the real port. */
  readonly address: string
  /** The node to show; for the option `observe` of `createNode`. Throws `INVALID_ARGUMENT` for a second one. */
  readonly observe: (node: ObservedNode) => void
  /** Ends every connection. The node goes on. */
  close(): Promise<void>
}

/** Throws `ADDRESS_INVALID`, `INSECURE_ADDRESS`, `LISTEN_FAILED`, `INVALID_ARGUMENT`. */
export async function startMonitor(options: MonitorOptions): Promise<Monitor> {
  const limits = resolveLimits(options.limits)
  const view = new NodeView(options.clock ?? systemClock(), limits)
  const server = await openWebServer({
    listen: options.listen,
    insecure: options.insecure === true,
    limits,
    answer: (url, response) => view.answer(url, response),
  })
  if (options.node !== undefined) view.observe(options.node)
  return monitorOf(server, view)
}

function monitorOf(server: WebServer, view: NodeView): Monitor {
  const close = async (): Promise<void> => {
    view.close()
    await server.close()
  }
  return {
    address: server.address,
    observe: (node) => view.observe(node),
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** What there is to see of a node. */
class NodeView {
  readonly #clock: Clock
  readonly #limits: MonitorLimits
  readonly #metrics: Metrics
  readonly #stop = new AbortController()
  #node: ObservedNode | undefined
  #streams = 0

  constructor(clock: Clock, limits: MonitorLimits) {
    this.#clock = clock
    this.#limits = limits
    this.#metrics = createMetrics({
      status: () => this.#status,
      measures: () => this.#node?.measures(),
    })
  }

  get #status(): NodeStatus | undefined {
    return this.#node?.status()
  }

  observe(node: ObservedNode): void {
    if (this.#node !== undefined)
      throw new UnderstudyError(
        'INVALID_ARGUMENT',
        `This monitor shows node ${this.#node.name} already; it goes on with that. Start another monitor for ${node.name}.`,
      )
    this.#node = node
    void this.#count(node.events({ bufferMax: this.#limits.eventsBufferMax, signal: this.#stop.signal }))
  }

  close(): void {
    this.#stop.abort()
  }

  async answer(url: URL, response: ServerResponse): Promise<WebAnswer | undefined> {
    switch (url.pathname) {
      case '/metrics':
        return { status: 200, type: this.#metrics.contentType, body: await this.#metrics.text() }
      case '/health': {
        const health = healthOf(this.#status, this.#clock.now())
        return json(health.healthy ? 200 : 503, health)
      }
      case '/ready':
        return this.#ready(url)
      case '/leader':
        return this.#role('leader')
      case '/follower':
        return this.#role('follower')
      case '/status':
        return json(this.#node === undefined ? 503 : 200, this.#status ?? { state: 'starting' })
      case '/events':
        return this.#events(response)
      default:
        return json(404, {
          error: 'There are /metrics, /health, /ready, /leader, /follower, /status and /events.',
        })
    }
  }

  #role(asked: 'leader' | 'follower'): WebAnswer {
    const answer = roleOf(this.#status, asked)
    return json(answer.ok ? 200 : 503, answer)
  }

  #ready(url: URL): WebAnswer {
    const question = readQuestion(url.searchParams)
    if (typeof question === 'string') return json(400, { error: question })
    const readiness = readinessOf(this.#status, question)
    return json(readiness.ready ? 200 : 503, readiness)
  }

  async #events(response: ServerResponse): Promise<WebAnswer | undefined> {
    if (this.#node === undefined) return json(503, { error: 'The node has not started yet.' })
    if (this.#streams >= this.#limits.eventStreamsMax)
      return json(503, { error: `There are ${this.#streams} streams of events already.` })
    const { eventsBufferMax: bufferMax, eventsBeatMs: beatMs, eventsStallMs: stallMs } = this.#limits
    const events = this.#node.events({ bufferMax, signal: this.#stop.signal })
    response.writeHead(200, { ...HEADERS, 'Content-Type': 'text/event-stream; charset=utf-8' })
    if (response.req.method === 'HEAD') {
      await events.return?.()
      response.end()
      return undefined
    }
    this.#streams++
    try {
      await sendEvents(response, events, { clock: this.#clock, beatMs, stallMs })
    } finally {
      this.#streams--
    }
    return undefined
  }

  async #count(events: EventStream): Promise<void> {
    for await (const { event } of events) {
      if (event.kind === 'eventsDropped') this.#metrics.dropped(event.count)
      else this.#metrics.told(event, this.#node?.name ?? '')
    }
  }
}

function json(status: number, value: object): WebAnswer {
  return { status, type: 'application/json; charset=utf-8', body: `${toJson(value)}\n` }
}
