export { serveClient, type ClientSession, type ServeOptions } from './serve.ts'
export { DEFAULT_LIMITS, type ServerLimits } from './limits.ts'
export type {
  AcksRequest,
  Answer,
  ClientHandlers,
  DecisionsRequest,
  DigestAnswer,
  DigestRequest,
  NodeIdentity,
  PromoteRequest,
  ReadAnswer,
  ReachRequest,
  ReadRequest,
  ResultLimits,
  SwitchoverRequest,
  WhoLeadsRequest,
  WriteAnswer,
  WriteRequest,
} from './handlers.ts'
