/**
 * Asks the members until one answers.
 *
 * 1. A member that does not answer is left for the next one, and asked again when it is its turn; the one that answered last is
 *    asked first.
 * 2. A change that must not be repeated blindly is not: `COORDINATOR_UNCERTAIN`, and whoever asked knows how to find out.
 * 3. Nothing is sent after the call is over.
 */
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { UnderstudyError, type Clock } from '@understudy/contracts'
import { pause, unavailable, uncertain } from '@understudy/coordination'
import type { IncomingMessage } from 'node:http'
import type { PasswordSource, Settings } from './options.ts'
import { KIND, verdictOf } from './refusals.ts'
import { NoAnswer, Requests } from './request.ts'

/** After all members were asked in vain, in milliseconds. */
const ROUND_MS = 50

/** `read` and `repeatable` may be sent twice. */
export type CallKind = 'read' | 'repeatable' | 'once'

export class EtcdClient {
  readonly #settings: Settings
  readonly #clock: Clock
  readonly #requests: Requests
  readonly #failed = new Set<(endpoint: URL) => void>()
  /** Asked first. */
  #at = 0
  #token: string | undefined

  /** Throws `TLS_FAILED`. */
  constructor(settings: Settings) {
    this.#settings = settings
    this.#clock = settings.clock
    this.#requests = new Requests(settings, settings.clock)
  }

  /** The member that is asked first. */
  get endpoint(): URL {
    const { endpoints } = this.#settings
    return endpoints[this.#at % endpoints.length]!
  }

  /** Calls `failed` for each member that did not answer, until the returned function is called. */
  onFailed(failed: (endpoint: URL) => void): () => void {
    this.#failed.add(failed)
    return () => this.#failed.delete(failed)
  }

  async call(
    path: string,
    body: unknown,
    kind: CallKind,
    signal: AbortSignal,
  ): Promise<Record<string, unknown>> {
    const { endpoints } = this.#settings
    let mayHaveHappened = false
    let last: unknown
    for (let tries = 1; !signal.aborted; tries++) {
      const outcome = await this.#attempt(path, body, signal)
      if ('json' in outcome) return outcome.json
      if (outcome.final !== undefined) throw outcome.final
      last = outcome.error
      mayHaveHappened ||= outcome.mayHaveHappened && kind !== 'read'
      if (mayHaveHappened && kind === 'once') break
      const isRound = tries % endpoints.length === 0
      // What no other member mends either is told at once.
      if (isRound && outcome.refusal !== undefined) throw outcome.refusal
      if (isRound) await pause(this.#clock, ROUND_MS, signal)
    }
    const why = last instanceof Error ? last.message : 'no member answered in time'
    throw mayHaveHappened ? uncertain(KIND, why, last) : unavailable(KIND, why, last)
  }

  /** A stream of answers of the member that is asked first. Rejects with `NoAnswer` or an error of `call`. */
  async stream(path: string, body: unknown, signal: AbortSignal): Promise<IncomingMessage> {
    const token = await this.#login(signal)
    const { response } = await this.#requests.open({ endpoint: this.endpoint, path, body, token, signal })
    return response
  }

  /** The token is not good any more. */
  forgetLogin(): void {
    this.#token = undefined
  }

  /** The member did not answer: the next one is asked first. */
  leave(endpoint: URL): void {
    if (this.endpoint === endpoint) this.#at += 1
    for (const failed of this.#failed) failed(endpoint)
  }

  close(): void {
    this.#requests.close()
  }

  async #attempt(path: string, body: unknown, signal: AbortSignal): Promise<Outcome> {
    const { endpoint } = this
    const attempt = this.#limited(signal)
    try {
      for (let logins = 0; ; logins++) {
        const token = await this.#login(attempt.signal)
        const answer = await this.#requests.send({ endpoint, path, body, token, signal: attempt.signal })
        const verdict = verdictOf(answer, endpoint)
        if (verdict.kind === 'answer') return { json: verdict.json }
        if (verdict.kind === 'refused')
          return { final: verdict.error, error: verdict.error, mayHaveHappened: false }
        if (verdict.kind === 'again') {
          this.leave(endpoint)
          return verdict
        }
        this.forgetLogin()
        // A member that was restarted knows no tokens; one that knows none of this moment is asked later.
        if (logins >= 2)
          return { error: unavailable(KIND, 'the login does not hold'), mayHaveHappened: false }
      }
    } catch (error) {
      if (!(error instanceof NoAnswer)) {
        // Of the login, which changes nothing.
        return { final: error, error, mayHaveHappened: false }
      }
      this.leave(endpoint)
      return { error, mayHaveHappened: error.mayHaveArrived, refusal: error.refusal }
    } finally {
      attempt.end()
    }
  }

  /** The token of the user; undefined without one. */
  async #login(signal: AbortSignal): Promise<string | undefined> {
    const { user } = this.#settings
    if (user === undefined || this.#token !== undefined) return this.#token
    const { endpoint } = this
    const body = { name: user.name, password: passwordOf(user.password) }
    const answer = await this.#requests.send({ endpoint, path: '/v3/auth/authenticate', body, signal })
    const verdict = verdictOf(answer, endpoint)
    if (verdict.kind === 'refused') throw verdict.error
    const token = verdict.kind === 'answer' ? verdict.json['token'] : undefined
    if (typeof token !== 'string') throw new NoAnswer(new Error('the login was not answered'), false)
    this.#token = token
    return token
  }

  /** Ends with `signal`, or after `attemptMs` where there is another member to ask. */
  #limited(signal: AbortSignal): { readonly signal: AbortSignal; end(): void } {
    if (this.#settings.endpoints.length === 1) return { signal, end: () => undefined }
    const controller = new AbortController()
    const { attemptMs } = this.#settings
    const timer = this.#clock.schedule(attemptMs, () =>
      controller.abort(new Error(`no answer within ${attemptMs} ms`)),
    )
    const pass = (): void => controller.abort(signal.reason)
    if (signal.aborted) pass()
    signal.addEventListener('abort', pass, { once: true })
    const end = (): void => {
      timer.cancel()
      signal.removeEventListener('abort', pass)
    }
    return { signal: controller.signal, end }
  }
}

type Outcome =
  | { readonly json: Record<string, unknown> }
  | {
      readonly error: unknown
      readonly mayHaveHappened: boolean
      /** Told at once. */
      readonly final?: unknown
      /** Told when every member was asked. */
      readonly refusal?: UnderstudyError | undefined
    }

/** Throws `CREDENTIALS_INVALID`. */
function passwordOf(source: PasswordSource): string {
  if (typeof source === 'string') return source
  const { file } = source
  const fail = (what: string, cause?: unknown): UnderstudyError =>
    new UnderstudyError('CREDENTIALS_INVALID', `The password file ${file} ${what}. Nothing was sent.`, {
      file,
      cause,
    })
  let descriptor: number
  try {
    descriptor = openSync(file, 'r')
  } catch (error) {
    throw fail('cannot be read; check its path and who may read it', error)
  }
  try {
    if ((fstatSync(descriptor).mode & 0o077) !== 0)
      throw fail(`can be read by others; run: chmod 600 ${file}`)
    return readFileSync(descriptor, 'utf8').replace(/\r?\n$/, '')
  } finally {
    closeSync(descriptor)
  }
}
