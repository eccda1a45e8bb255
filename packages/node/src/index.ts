/** Composes the parts handed in into one replicated node. */
export { createNode } from './node.ts'
export type { ReadOptions, UnderstudyNode } from './api.ts'
export type { NodeEvent, NodeOptions, Role } from './options.ts'
export type {
  AbsentFollowerStatus,
  BootstrapStatus,
  CertificateReport,
  ErrorStatus,
  FollowingStatus,
  NodeStatus,
} from './status.ts'
export { readNodeState, type NodeState } from './state-file.ts'
export { generationPaths, type GenerationPaths } from './layout.ts'
export type { Statement, WriteOptions, WriteResult } from '@understudy/replication'
export { Checkpointer, type CheckpointedStorage, type CheckpointerOptions } from './checkpointer.ts'
