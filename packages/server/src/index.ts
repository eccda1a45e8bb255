export { serveClient, type ClientSession, type ServeOptions } from './serve.ts'
export { DEFAULT_LIMITS, type ServerLimits } from './limits.ts'
export type {
  Answer,
  ClientHandlers,
  DigestAnswer,
  DigestRequest,
  NodeIdentity,
  ReadAnswer,
  ReadRequest,
  ResultLimits,
  WriteAnswer,
} from './handlers.ts'
