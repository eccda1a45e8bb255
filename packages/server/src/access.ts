/**
 * Which role each request needs. No role includes another: whoever may write learns nothing of what is stored, whoever
 * administers sees no rows.
 *
 * Every client may ask for the status, and for what a node says of a receipt, which hold no data of the user.
 */
import { UnderstudyError } from '@understudy/contracts'
import type { RequestBody, ResultSet, Role } from '@understudy/protocol'

const NEEDED: Readonly<Record<RequestBody['kind'], Role | undefined>> = {
  status: undefined,
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
}

/** Throws `FORBIDDEN`. Without `roles` everything may be asked. */
export function assertMayAsk({ kind }: RequestBody, roles: ReadonlySet<Role> | undefined): void {
  const role = NEEDED[kind]
  if (roles === undefined || role === undefined || roles.has(role)) return
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
