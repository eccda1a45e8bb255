export type {
  AckChangeOptions,
  CallOptions,
  Client,
  ClientStatement,
  DigestOptions,
  DigestReply,
  ExposureCallOptions,
  ReachReply,
  ReadOptions,
  ReadReply,
  WriteOptions,
  WriteReply,
} from './client.ts'
export { connect, type ConnectOptions } from './connect.ts'
export { verifyCluster, type TableComparison, type VerifyOptions, type VerifyReport } from './verify.ts'
export type { DifferingRow, OneSide } from './row-difference.ts'
export type { RowComparison, RowsOptions, RowsProgress } from './verify-rows.ts'
