export type {
  AckChangeOptions,
  CallOptions,
  Client,
  ClientStatement,
  ClientStep,
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
  ClusterIterateOptions,
  ClusterOptions,
  ClusterReadOptions,
  ClusterReadReply,
  ClusterTransactionOptions,
  ClusterTransactionReply,
  ClusterWriteOptions,
  ClusterWriteReply,
} from './cluster-options.ts'
export { PREFERENCES, type Preference } from './routing.ts'
export type { PreparedStatement } from './prepared.ts'
export type { RowBatch, RowStream } from './row-stream.ts'
export type { Integers, Row } from './rows.ts'
export type { IterateOptions } from './streams.ts'
export type { ClientTransaction, Sql, TransactionOptions, TransactionReply } from './transaction.ts'
export { verifyCluster, type TableComparison, type VerifyOptions, type VerifyReport } from './verify.ts'
export type { DifferingRow, OneSide } from './row-difference.ts'
export type { RowComparison, RowsOptions, RowsProgress } from './verify-rows.ts'
