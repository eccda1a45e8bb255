/**
 * What became of the attempts of one call, and the error that its caller gets in the end.
 *
 * Decides: what that error says: what happened at each node, and whether something may have been done.
 */
import { UnderstudyError, isUnderstudyError, type ErrorCode } from '@understudy/contracts'
import { isFromPeer, isHopeless } from './outcomes.ts'

export class Tries {
  readonly #what: string
  /** The last error of each node. */
  readonly #errors = new Map<string, unknown>()
  readonly #later = new Set<string>()
  #doubt: unknown
  #last: unknown

  constructor(what: string) {
    this.#what = what
  }

  get isEmpty(): boolean {
    return this.#errors.size === 0
  }

  get last(): unknown {
    return this.#doubt === undefined ? this.#last : this.unknown(this.#doubt)
  }

  add(address: string, error: unknown): void {
    const known = error instanceof Error && 'reason' in error ? error.reason : error
    this.#errors.set(address, known)
    this.#last = known
  }

  later(address: string): void {
    this.#later.add(address)
  }

  /** Whether the node refused for now; asked once. */
  isLater(address: string): boolean {
    return this.#later.delete(address)
  }

  /** It may be done. */
  doubt(error: unknown): void {
    this.#doubt = error
  }

  /** Whether every node refused for a reason that no waiting mends, and nothing else happened. */
  isHopeless(addresses: readonly string[]): boolean {
    return addresses.every((address) => this.#errors.has(address) && isHopeless(this.#errors.get(address)))
  }

  /** No node can be connected. */
  none(error: unknown): UnderstudyError {
    return new UnderstudyError(
      codeOf(error),
      `No node could be reached${this.#places()}. Nothing was asked.`,
      {
        attempts: this.#attempts(),
        cause: error,
      },
    )
  }

  /** The deadline passed. */
  late(timeoutMs: number, isRepeatable: boolean, refused: readonly string[]): UnderstudyError {
    const untrusted =
      refused.length === 0
        ? ''
        : ` Not followed, because they are not encrypted and where they were named is: ${refused.join(', ')}.`
    const within = `within ${Math.round(timeoutMs)} ms`
    if (this.#what === 'read') {
      return this.#error(
        this.#commonCode() ?? 'TIMEOUT',
        `No node answered the read ${within}`,
        `Nothing was read; ask again.${untrusted}`,
      )
    }
    if (this.#doubt !== undefined) return this.unknown(this.#doubt, isRepeatable)
    const nothing = this.#what === 'write' ? 'Nothing was written' : 'Nothing was done'
    const code = this.#what === 'write' ? 'NOT_WRITTEN' : 'TIMEOUT'
    return this.#error(
      code,
      `No leader took the ${this.#what} ${within}`,
      `${nothing}; it may be sent again.${untrusted}`,
    )
  }

  /** No answer, and none can be got. */
  unknown(doubt: unknown, isRepeatable: boolean = false): UnderstudyError {
    const about = isUnderstudyError(doubt) ? { position: doubt.position, ...doubt.details } : {}
    const again = isRepeatable
      ? 'send it again with the same key'
      : 'read before writing it again, or write with a key'
    const code = this.#what === 'write' ? 'OUTCOME_UNKNOWN' : codeOf(doubt)
    return new UnderstudyError(
      code,
      `The ${this.#what} was sent, and no answer came that tells whether it is done${this.#places()}. It may be done or not: ${again}.`,
      { ...about, attempts: this.#attempts(), cause: doubt },
    )
  }

  /** The caller gave up, or closed the client. */
  stopped(code: 'CLOSED' | 'ABORTED', isRepeatable: boolean): UnderstudyError {
    if (this.#doubt !== undefined) return this.unknown(this.#doubt, isRepeatable)
    const why = code === 'CLOSED' ? 'This client was closed' : 'The call was aborted'
    return this.#error(code, why, 'Nothing was done.')
  }

  /** What all nodes say that said something; without any, what all tries failed with. */
  #commonCode(): ErrorCode | undefined {
    const errors = [...this.#errors.values()].filter((error) => isUnderstudyError(error))
    const said = errors.filter((error) => isFromPeer(error) || error.code.startsWith('EPOCH_'))
    const codes = new Set((said.length > 0 ? said : errors).map(({ code }) => code))
    return codes.size === 1 ? [...codes][0] : undefined
  }

  #error(code: ErrorCode, what: string, advice: string): UnderstudyError {
    return new UnderstudyError(code, `${what}${this.#places()}. ${advice}`, {
      attempts: this.#attempts(),
      cause: this.#last,
    })
  }

  #places(): string {
    if (this.#errors.size === 0) return ''
    return `: ${[...this.#errors].map(([address, error]) => `${address}: ${textOf(error)}`).join('; ')}`
  }

  /** By address, the code of the last error. */
  #attempts(): Record<string, string> {
    return Object.fromEntries([...this.#errors].map(([address, error]) => [address, codeOf(error)]))
  }
}

function codeOf(error: unknown): ErrorCode {
  return isUnderstudyError(error) ? error.code : 'REQUEST_FAILED'
}

/** The first sentence: the advice of an error is about its own node. */
function textOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  const [sentence = ''] = message.split(/[.;](?:\s|$)/)
  return `${codeOf(error)} (${sentence.slice(0, 200)})`
}
