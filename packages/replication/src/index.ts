export type { PublishRules, RulesToPublish } from './published-rules.ts'
export { createCommitPipeline } from './commit-pipeline.ts'
export type {
  AcksBefore,
  ChangeAcksOptions,
  CommitPipeline,
  CommitPipelineOptions,
  Defer,
  Recovery,
  WriteOptions,
  WriteResult,
} from './pipeline-api.ts'
export type { AckStatus } from './ack-gate.ts'
export {
  any,
  async,
  first,
  formatRule,
  parsePolicy,
  parseRule,
  resolvePolicy,
  semiSync,
  sync,
  type AckPolicy,
  type AckRule,
  type AckSet,
  type AckSettings,
  type OnUnmet,
  type PolicyOptions,
} from './ack-rule.ts'
export {
  changeRecord,
  formatAckRecord,
  parseAckRecord,
  rulesInForce,
  startFrom,
  stateAfter,
  type AckRecord,
  type AckState,
} from './ack-change.ts'
export { AckStates, ackStateOf, knownAckState, newestAckRecord } from './ack-log.ts'
export { AckTracker, type MemberProgress, type SyncState, type TrackerLimits } from './ack-tracker.ts'
export { EXPOSED_RANGES_MAX, beginExposure, takeRecord, type ExposureState } from './exposure.ts'
export { ExposureLedger } from './exposure-ledger.ts'
export { reportExposure, type Whereabouts } from './exposure-report.ts'
export { shownUpTo } from './shown.ts'
export { acknowledgedOnFollower } from './acknowledged.ts'
export { checkedReceipt, verdictOf, type VerdictView } from './verdict.ts'
export type { Reached, Reaches, ReachOptions, WriteReceipt } from './receipts.ts'
export { fingerprintOfStatements, KEY_BYTES_MAX, VALUE_BYTES_MAX } from './write-key.ts'
export type { TransactionOptions } from './open-transaction.ts'
export { changesOf, type StepResult } from './statements.ts'
export { runSteps, checkSteps, type Statement, type Step, type StepFailure, type StepKind } from './steps.ts'
export { formatVersion, incompatibility } from './format-versions.ts'
export { draftParts, PartAssembler, type WholeTransaction } from './parts.ts'
export { ApplyLoop, type ApplyLoopOptions } from './apply-loop.ts'
export { checkLogMatchesStorage, redo, type RedoOptions, type RedoResult } from './redo.ts'
export {
  shadowRefusal,
  type Around,
  type ShadowOptions,
  type ShadowReport,
  type ShadowSide,
} from './shadow.ts'
export { adoptStorage } from './adopt.ts'
export {
  becomeLeader,
  type BecomeLeaderOptions,
  type EpochPromotion,
  type LeaderIds,
  type Leadership,
} from './leader.ts'
export { decideHandshake, findHistoryFault, type HandshakeDecision, type LeaderView } from './handshake.ts'
export { Followers } from './followers.ts'
export type { AbsentFollower } from './absent.ts'
export type { FollowerStanding } from './follower-watch.ts'
export type { Lag } from './lag.ts'
export { CommitAges, type CommitAge } from './commit-ages.ts'
export {
  serveFollower,
  type FollowerEvent,
  type FollowerSession,
  type FollowerStatus,
  type Link,
  type SenderContext,
  type SessionHost,
} from './sender.ts'
export {
  SenderMachine,
  type FollowerProgress,
  type FollowerState,
  type SenderAction,
  type SenderEvent,
  type SenderMachineOptions,
} from './sender-machine.ts'
export type { FollowFence, LeaderClaim } from './follow-fence.ts'
export { fetchTail, type FetchTailOptions } from './fetch-tail.ts'
export { TailServer, type TailServerOptions } from './tail-server.ts'
export { followLeader, type FollowerReport, type Following, type FollowOptions } from './receiver.ts'
export {
  ReceiverMachine,
  type ReceiverAction,
  type ReceiverEvent,
  type ReceiverMachineOptions,
  type ReceiverProgress,
  type ReceiverState,
} from './receiver-machine.ts'
export {
  commitMeasures,
  snapshotOf,
  type CommitMeasures,
  type CommitMeasuresSnapshot,
  type HistogramSnapshot,
} from './measures.ts'
export {
  ID_BLOCK,
  ID_BLOCK_MAX,
  ID_BLOCK_MS,
  ID_LEAP,
  ID_STEP,
  IdCeilings,
  firstIds,
  type Counters,
  type FirstIdsOptions,
  type IdCeilingsOptions,
  type Raise,
} from './id-ceilings.ts'
export { ID_KEEP_MS, type IdOptions, type IdReport, type IdStatus } from './id-gate.ts'
export { IdsPromise, idsProven, type IdsProofOptions } from './ids-promise.ts'
export { planUndo, rewindUnlogged, undoByRewind, undoTail, type UndoContext, type UndoPlan } from './undo.ts'
export { AppliedWaiters, type PositionToken, type WaitOptions } from './waiters.ts'
export {
  APPLY_LIMITS,
  BACKOFF_LIMITS,
  LINK_LIMITS,
  PIPELINE_LIMITS,
  type ApplyLimits,
  type BackoffLimits,
  type LinkLimits,
  type PipelineLimits,
} from './limits.ts'
