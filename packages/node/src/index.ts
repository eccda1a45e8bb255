/** Composes the parts handed in into one replicated node. */
export { createNode } from './create-node.ts'
export type { ObservedNode, ReadOptions, SetAcksOptions, UnderstudyNode } from './api.ts'
export type { EventsDropped, EventsOptions, EventStream, NodeEvent, StampedEvent } from './events.ts'
export type { NodeExposureOptions } from './exposure.ts'
export type { DecisionsOptions, FailoverCalls } from './failover-calls.ts'
export type {
  Changed,
  FailoverOptions,
  FailoverStatus,
  MemberAddress,
  MemberEvent,
  PromoteOptions,
  SwitchoverOptions,
} from '@understudy/failover'
export { PROFILES, describeProfile, type Profile } from './profiles.ts'
export type { NodeOptions, Role } from './options.ts'
export type {
  AbsentFollowerStatus,
  AckReport,
  BootstrapStatus,
  CertificateReport,
  ErrorStatus,
  FollowingStatus,
  NodeStatus,
} from './status.ts'
export { readNodeState, writeNodeState, type NodeState } from './state-file.ts'
export { generationPaths, type GenerationPaths } from './layout.ts'
export {
  any,
  async,
  first,
  formatRule,
  parsePolicy,
  parseRule,
  semiSync,
  sync,
  type AckPolicy,
  type AckRule,
  type AckSet,
  type CommitMeasuresSnapshot,
  type FollowerStatus,
  type HistogramSnapshot,
  type Lag,
  type OnUnmet,
  type Reached,
  type ReachOptions,
  type Statement,
  type Step,
  type StepResult,
  type SyncState,
  type TransactionOptions,
  type WriteOptions,
  type WriteReceipt,
  type WriteResult,
} from '@understudy/replication'
export { Checkpointer, type CheckpointedStorage, type CheckpointerOptions } from './checkpointer.ts'
export { lostTailDirectory } from './lost-tails.ts'
