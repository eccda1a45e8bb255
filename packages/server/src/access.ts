/**
 * Which role each request needs. No role includes another: whoever may write learns nothing of what is stored, whoever
 * administers sees no rows.
 *
 * Every client may ask for the status, for who leads, and for what a node says of a receipt, which hold no data of the user.
 */
import { UnderstudyError } from '@understudy/contracts'
import type { RequestBody, ResultSet, Role } from '@understudy/protocol'

const NEEDED: Readonly<Record<RequestBody['kind'], Role | readonly Role[] | undefined>> = {
  status: undefined,
  whoLeads: undefined,
  read: 'read',
  digest: 'read',
  rows: 'read',
  release: 'read',
  verdict: undefined,
  reach: 'write',
  write: 'write',
  mark: 'admin',
  slots: 'admin',
  exposure: 'admin',
  dropSlot: 'admin',
  forget: 'admin',
  switchFormat: 'admin',
  setAcks: 'admin',
  promote: 'admin',
  switchover: 'admin',
  pauseFailover: 'admin',
  decisions: 'admin',
  // What is kept for a client is its own; it was let in when it was made.
  prepare: ['read', 'write'],
  unprepare: undefined,
  begin: 'write',
  run: undefined,
  end: undefined,
  open: 'read',
  fetch: undefined,
  cancel: undefined,
}

function neededFor(body: RequestBody): readonly Role[] | undefined {
  const needed = body.kind === 'begin' && body.readOnly ? 'read' : NEEDED[body.kind]
  return typeof needed === 'string' ? [needed] : needed
}

/** Throws `FORBIDDEN`. Without `roles` everything may be asked. */
export function assertMayAsk(body: RequestBody, roles: ReadonlySet<Role> | undefined): void {
  // Whose write it is only a node may say for somebody else.
  const isForwarded = body.kind === 'write' && body.forwarded !== undefined
  const needed = [neededFor(body), isForwarded ? (['replicate'] as const) : undefined]
  const lacking = needed.find((each) => each?.some((role) => roles?.has(role) ?? true) === false)
  if (lacking === undefined) return
  const [role] = lacking
  throw new UnderstudyError(
    'FORBIDDEN',
    `The credential does not have the role ${lacking.join(' or ')}, which ${body.kind} needs. Nothing was done; use another credential.`,
    { role },
  )
}

export function mayRead(roles: ReadonlySet<Role> | undefined): boolean {
  return roles === undefined || roles.has('read')
}

/** What a writer that may not read learns of its statement: RETURNING and SELECT give it no row. */
export function withoutRows(result: ResultSet): ResultSet {
  return { ...result, columns: [], rows: [] }
}
