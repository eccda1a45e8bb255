/**
 * A log at rest, served to a member that is to lead and lacks its end.
 *
 * Decides: whose connection ends when. Leaves to others: what may be sent (handshake, sender), when the log is at rest.
 *
 * 1. It leads nobody: what it is told as acks counts for nothing, and its high watermark shows nothing.
 * 2. A retention slot that it took for the transfer goes with the connection: nobody advances it later.
 */
import { UnderstudyError, type Clock, type Log, type LogFormat } from '@understudy/contracts'
import type { Hello } from '@understudy/protocol'
import { CommitAges } from './commit-ages.ts'
import type { LinkLimits } from './limits.ts'
import { serveFollower, type FollowerSession, type Link } from './sender.ts'

export interface TailServerOptions<C> {
  readonly log: Log
  readonly cluster: string
  /** Name of this node. */
  readonly node: string
  readonly clock: Clock
  readonly formats: readonly LogFormat<C>[]
  readonly limits?: Partial<LinkLimits>
}

export class TailServer<C> {
  readonly #options: TailServerOptions<C>
  readonly #sessions = new Set<FollowerSession>()

  constructor(options: TailServerOptions<C>) {
    this.#options = options
  }

  accept(link: Link, hello: Hello): void {
    const { log, cluster, node, clock, formats, limits } = this.#options
    const hadSlot = log.slots.get(hello.node) !== undefined
    const end = { isOver: false }
    let session: FollowerSession | undefined
    const context = {
      log,
      cluster,
      node,
      clock,
      formats: formats.map(({ id, version }) => ({ id, version })),
      highWatermark: () => 0,
      onMustStopLeading: () => undefined,
      ...(limits && { limits }),
    }
    session = serveFollower(link, hello, context, {
      ages: new CommitAges(log.durable, clock.monotonic()),
      changed: () => undefined,
      ticked: () => undefined,
      closed: () => {
        end.isOver = true
        if (session !== undefined) this.#sessions.delete(session)
        if (!hadSlot) this.#dropSlot(hello.node)
      },
    })
    if (session !== undefined && !end.isOver) this.#sessions.add(session)
  }

  /** The log is at rest no more. */
  close(): void {
    for (const session of this.#sessions) session.close(atRestNoMore(this.#options.node))
    this.#sessions.clear()
  }

  #dropSlot(name: string): void {
    const { log } = this.#options
    if (log.failure === undefined && log.slots.get(name) !== undefined) log.slots.drop(name)
  }
}

function atRestNoMore(node: string): UnderstudyError {
  return new UnderstudyError(
    'CONNECTION_LOST',
    `${node} takes part in something else now, so that its log is not at rest any more. What was sent is kept.`,
  )
}
