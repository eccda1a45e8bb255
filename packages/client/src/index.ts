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
  WhoLeadsOptions,
  WriteOptions,
  WriteReply,
} from './client.ts'
export type {
  ChangedLeader,
  FailoverCalls,
  PromoteCallOptions,
  SwitchoverCallOptions,
} from './failover-calls.ts'
export { connect } from './cluster.ts'
export type { ConnectOptions } from './connect.ts'
export type {
  ClusterClient,
  ClusterOptions,
  ClusterReadOptions,
  ClusterReadReply,
  ClusterWriteOptions,
  ClusterWriteReply,
} from './cluster-options.ts'
export { PREFERENCES, type Preference } from './routing.ts'
export { verifyCluster, type TableComparison, type VerifyOptions, type VerifyReport } from './verify.ts'
export type { DifferingRow, OneSide } from './row-difference.ts'
export type { RowComparison, RowsOptions, RowsProgress } from './verify-rows.ts'
