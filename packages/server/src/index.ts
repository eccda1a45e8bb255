export { serveClient, type ClientSession, type ServeOptions } from './serve.ts'
export { DEFAULT_LIMITS, type ServerLimits } from './limits.ts'
export type {
  AcksRequest,
  Answer,
  ClientHandlers,
  DigestAnswer,
  DigestRequest,
  NodeIdentity,
  ReadAnswer,
  ReachRequest,
  ReadRequest,
  ResultLimits,
  WhoLeadsRequest,
  WriteAnswer,
  WriteRequest,
} from './handlers.ts'
