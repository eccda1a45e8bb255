export * from './messages.ts'
export { decodeMessage, encodeMessage, MESSAGE_TYPES } from './codec.ts'
export { dial, type DialAs, type DialTarget } from './dial.ts'
export { isSqlRequest, isWriting } from './sql.ts'
export { LIMITS } from './limits.ts'
export { negotiateVersion, PROTOCOL_VERSION, PROTOCOL_VERSION_MIN } from './handshake.ts'
export {
  Connection,
  type ConnectionHandler,
  type ConnectionOptions,
  type NextOptions,
  type TrustOptions,
} from './connection.ts'
export {
  authenticatePeer,
  authenticateTo,
  AUTH_VERSION,
  type AcceptOptions,
  type DialOptions,
} from './authentication.ts'
export {
  grants,
  ROLES,
  SECRET_BYTES,
  verifierOf,
  type Credential,
  type Grant,
  type Grants,
  type Peer,
  type Role,
  type Verifier,
} from './credentials.ts'
