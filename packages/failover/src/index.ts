/** Who leads, and what becomes of what a former leader alone had. */
export { lintIds, type IdFinding } from './ids/lint.ts'
export type { LostChange, LostRow, SqlValue } from './lost-tail/changes.ts'
export {
  classify,
  type Classification,
  type ClassifiedChange,
  type ClassifiedTransaction,
  type ReadRows,
  type Verdict,
} from './lost-tail/classify.ts'
export { exportLostTail, type ExportLostTailOptions } from './lost-tail/export.ts'
export type { LostTailHeader } from './lost-tail/file-format.ts'
export {
  discardLostTail,
  findLostTail,
  listLostTails,
  noteApplied,
  type AppliedNote,
  type LostTailFile,
} from './lost-tail/files.ts'
export { writeLostRows, type WriteLostRowsOptions } from './lost-tail/rows-file.ts'
export { statementsFor, type ApplyStatement } from './lost-tail/statements.ts'
export {
  readLostTail,
  type LostLevel,
  type LostTail,
  type LostTransaction,
  type TailFormat,
} from './lost-tail/transactions.ts'
export { readStateFile, writeStateFile, type StateFormat } from './state-file.ts'
export * from './detector/detector.ts'
export * from './confirm.ts'
export * from './leadership.ts'
export * from './decide/observations.ts'
export * from './decide/decision.ts'
export { coordinatorView } from './decide/coordinator-view.ts'
export { decide } from './decide/decide.ts'
export { rulesAfter, ruleText } from './decide/rules.ts'
export * from './decide/forecast.ts'
export * from './decide/record.ts'
export * from './promotion/voter.ts'
export * from './promotion/promotion.ts'
export {
  openMember,
  type ClusterMember,
  type MemberEvent,
  type MemberParts,
} from './member/cluster-member.ts'
export type { Fence, Host, HostReport, LeaderPlace } from './member/host.ts'
export type { FailoverOptions, MemberAddress } from './member/options.ts'
export type { Change as PublishedChange } from './member/publishing.ts'
export type { FailoverStatus, MemberSeen } from './member/member-status.ts'
export type { Changed, PromoteOptions, SwitchoverOptions } from './member/wishes.ts'
export { readDecisions } from './member/decision-file.ts'
