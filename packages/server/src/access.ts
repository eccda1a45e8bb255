/**
 * Which role each request needs. No role includes another: whoever may write learns nothing of what is stored, whoever
 * administers sees no rows.
 *
 * Every client may ask for the status, for who leads, and for what a node says of a receipt, which hold no data of the user.
 */
import { UnderstudyError } from '@understudy/contracts'
import type { RequestBody, ResultSet, Role } from '@understudy/protocol'

const NEEDED: Readonly<Record<RequestBody['kind'], Role | undefined>> = {
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
}

/** Throws `FORBIDDEN`. Without `roles` everything may be asked. */
export function assertMayAsk(body: RequestBody, roles: ReadonlySet<Role> | undefined): void {
  const { kind } = body
  const needed: (Role | undefined)[] = [NEEDED[kind]]
  // Whose write it is only a node may say for somebody else.
  if (kind === 'write' && body.forwarded !== undefined) needed.push('replicate')
  const role = needed.find((each) => each !== undefined && roles?.has(each) === false)
  if (role === undefined) return
  throw new UnderstudyError(
    'FORBIDDEN',
    `The credential does not have the role ${role}, which ${kind} needs. Nothing was done; use another credential.`,
    { role },
  )
}

export function mayRead(roles: ReadonlySet<Role> | undefined): boolean {
  return roles === undefined || roles.has('read')
}

/** What a writer that may not read learns of its statement: RETURNING and SELECT give it no row. */
export function withoutRows({ changes }: ResultSet): ResultSet {
  return { columns: [], rows: [], changes }
}
