export type {
  CallOptions,
  Client,
  ClientStatement,
  DigestReply,
  ReadOptions,
  ReadReply,
  WriteReply,
} from './client.ts'
export { connect, type ConnectOptions } from './connect.ts'
export { verifyCluster, type TableComparison, type VerifyOptions, type VerifyReport } from './verify.ts'
