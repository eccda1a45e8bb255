/**
 * All followers of a leader: those that are connected, and those that are gone.
 *
 * Decides: that a follower has one connection, when what a follower is has changed, who can be forgotten. Leaves to others:
 * serving one of them (sender), since when commits exist (commit-ages), who is gone (absent).
 */
import { LOCAL_SLOT, UnderstudyError } from '@understudy/contracts'
import type { Hello } from '@understudy/protocol'
import { AbsentFollowers, type AbsentFollower } from './absent.ts'
import { CommitAges } from './commit-ages.ts'
import { inUse, ownSlot } from './failures.ts'
import { FollowerWatch } from './follower-watch.ts'
import { unfitFollower } from './handshake.ts'
import { LINK_LIMITS, withDefaults } from './limits.ts'
import {
  serveFollower,
  type FollowerSession,
  type FollowerStatus,
  type Link,
  type SenderContext,
} from './sender.ts'

/** All followers of a leader. */
export class Followers {
  readonly #context: SenderContext
  readonly #sessions = new Map<string, FollowerSession>()
  readonly #ages: CommitAges
  readonly #absent: AbsentFollowers
  readonly #watch: FollowerWatch
  #lookedAtMs = Number.NEGATIVE_INFINITY

  constructor(context: SenderContext) {
    const { log, clock } = context
    this.#context = context
    this.#ages = new CommitAges(log.durable, clock.monotonic())
    this.#absent = new AbsentFollowers(log, clock)
    this.#watch = new FollowerWatch((standing) => context.onFollower?.({ kind: 'changed', ...standing }))
  }

  /** Serves a follower that said Hello. A follower that comes again replaces its old connection, which may be half dead. */
  accept(link: Link, hello: Hello): void {
    const { node: name } = hello
    this.#end(
      name,
      new UnderstudyError('CONNECTION_LOST', `Node ${name} connected again; this connection was replaced.`),
    )
    const end = { isOver: false }
    // A connection that ended before it came here says so while it is being accepted.
    let session: FollowerSession | undefined
    session = serveFollower(link, hello, this.#context, {
      ages: this.#ages,
      changed: () => this.look(),
      ticked: () => this.#lookInTurn(),
      closed: (error) => {
        end.isOver = true
        if (this.#sessions.get(name) !== session) return
        this.#forgetSession(name)
        this.#absent.left(name, error)
        this.look()
      },
    })
    if (session === undefined || end.isOver) return
    this.#sessions.set(name, session)
    this.#absent.delete(name)
    // Its own coming may have been what an ack rule waited for: the high watermark rose before it was among the sessions.
    session.wake()
    this.look()
  }

  /** The leader's durable end or high watermark moved. */
  wake(): void {
    const { log, clock, isAwaited } = this.#context
    this.#ages.note(log.durable, clock.monotonic())
    // Those that writes wait for come first: every write to a socket takes its time.
    const others: FollowerSession[] = []
    for (const session of this.#sessions.values())
      if (isAwaited?.(session.name) === true) session.wake(true)
      else others.push(session)
    for (const session of others) session.wake(false)
  }

  /** Tells what changed of followers by the ack rule in force: it may be another one, or time has passed. */
  look(): void {
    if (this.#context.onFollower === undefined) return
    this.#lookedAtMs = this.#context.clock.monotonic()
    this.#watch.look([...this.#sessions.values()].map((session) => session.standing()))
  }

  /** Another format is in force: followers that cannot apply it are told so and go. */
  recheck(): void {
    for (const [name, session] of this.#sessions) {
      const why = this.#context.unfit?.(session.formats)
      if (why === undefined) continue
      const error = new UnderstudyError('FORMAT_INCOMPATIBLE', unfitFollower(name, why), { node: name })
      this.#end(name, error)
      this.#absent.left(name, error)
    }
  }

  status(): FollowerStatus[] {
    return [...this.#sessions.values()].map((session) => session.status())
  }

  /** Followers that are gone and whose slots are kept. */
  absent(): AbsentFollower[] {
    return this.#absent.list((name) => this.#sessions.has(name))
  }

  /**
   * Drops the slot of a follower that will not come back, and all that is known of it. Throws `MEMBER_IN_USE` for one that is
   * connected or that the ack rule names, `SLOT_UNKNOWN`, `INVALID_ARGUMENT` for the node's own slot.
   */
  forget(name: string): void {
    const { log, syncState } = this.#context
    if (name === LOCAL_SLOT) throw ownSlot()
    if (this.#sessions.has(name)) throw inUse(name, 'it is connected', 'Stop it first')
    if ((syncState?.(name) ?? 'async') !== 'async')
      throw inUse(
        name,
        'the ack rule in force names it',
        'Change the rule first, so that no write waits for it',
      )
    log.slots.drop(name)
    this.#absent.delete(name)
  }

  /** Ends every connection, with the reason if there is one. */
  close(error?: UnderstudyError): void {
    for (const name of this.#sessions.keys()) this.#end(name, error)
  }

  /** Every session asks for it in each of its heartbeats; one look is of all of them. */
  #lookInTurn(): void {
    const { clock, limits } = this.#context
    const { heartbeatMs } = withDefaults(LINK_LIMITS, limits)
    if (clock.monotonic() - this.#lookedAtMs >= heartbeatMs / 2) this.look()
  }

  #end(name: string, error: UnderstudyError | undefined): void {
    this.#sessions.get(name)?.close(error)
    this.#forgetSession(name)
  }

  #forgetSession(name: string): void {
    this.#sessions.delete(name)
    this.#watch.forget(name)
  }
}
