/** What etcd's refusals mean: by the code of gRPC, and for some by the text that etcd gives them (api/v3rpc/rpctypes). */
import { UnderstudyError } from '@understudy/contracts'
import { unavailable, uncertain } from '@understudy/coordination'
import type { Answer } from './request.ts'

export const KIND = 'etcd'

const INVALID_ARGUMENT = 3
const PERMISSION_DENIED = 7
const RESOURCE_EXHAUSTED = 8
const FAILED_PRECONDITION = 9
const UNAUTHENTICATED = 16

export type Verdict =
  | { readonly kind: 'answer'; readonly json: Record<string, unknown> }
  /** The token is not known, any more: log in and ask again. */
  | { readonly kind: 'login' }
  /** Another member, or the same one a little later, may do it. `done`: it may have happened. */
  | { readonly kind: 'again'; readonly error: UnderstudyError; readonly mayHaveHappened: boolean }
  | { readonly kind: 'refused'; readonly error: UnderstudyError }

export function verdictOf({ status, json }: Answer, endpoint: URL): Verdict {
  const value = isObject(json) ? json : undefined
  if (status === 200 && value !== undefined) return { kind: 'answer', json: value }
  const code = value?.['code']
  const message = value?.['message'] ?? value?.['error']
  if (typeof code !== 'number' || typeof message !== 'string') return foreign(status, endpoint)
  if (code === UNAUTHENTICATED || /revision of auth store is old/.test(message)) return { kind: 'login' }
  if (code === PERMISSION_DENIED) return { kind: 'refused', error: forbidden(message) }
  if (
    (code === INVALID_ARGUMENT || code === FAILED_PRECONDITION) &&
    /user|password|authenticat/.test(message)
  )
    return { kind: 'refused', error: unauthenticated(message) }
  if (code === INVALID_ARGUMENT)
    return { kind: 'refused', error: unavailable(KIND, `${endpoint.origin} refuses the request: ${message}`) }
  if (code === RESOURCE_EXHAUSTED)
    return {
      kind: 'again',
      mayHaveHappened: false,
      error: unavailable(KIND, `${endpoint.origin}: ${message}; see its quota and alarms`),
    }
  const why = `${endpoint.origin}: ${message}`
  return { kind: 'again', mayHaveHappened: true, error: uncertain(KIND, why) }
}

/** A proxy before etcd may answer in its own way for a while; that nobody there knows the path does not pass. */
function foreign(status: number, endpoint: URL): Verdict {
  if (status === 404 || status === 405)
    return {
      kind: 'refused',
      error: new UnderstudyError(
        'COORDINATOR_UNSUITABLE',
        `${endpoint.origin} does not speak etcd's JSON interface, version 3 (HTTP ${status}). Nothing was changed; it needs etcd 3.4 or later, with its gRPC gateway on.`,
      ),
    }
  const error = uncertain(KIND, `${endpoint.origin} answers with HTTP ${status}`)
  return { kind: 'again', error, mayHaveHappened: true }
}

function forbidden(message: string): UnderstudyError {
  return new UnderstudyError(
    'FORBIDDEN',
    `etcd does not let this user do that (${message}). Nothing was changed; grant its role readwrite on the keys of the cluster.`,
  )
}

function unauthenticated(message: string): UnderstudyError {
  return new UnderstudyError(
    'AUTHENTICATION_FAILED',
    `etcd and this side do not agree who is asking (${message}). Nothing was changed; give the option user where authentication is on in etcd, and none where it is off.`,
  )
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
