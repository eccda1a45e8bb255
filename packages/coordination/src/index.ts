export { coordinatorOn, type CoordinatorEnvironment } from './coordinator.ts'
export {
  NO_REVISION,
  type CoordinatorStore,
  type LeaseTerms,
  type StateChange,
  type Stored,
  type StoredLease,
  type StoredState,
} from './store.ts'
export { decodeState, encodeState, STATE_BYTES_MAX, type WrittenState } from './state-bytes.ts'
export { unavailable, uncertain } from './errors.ts'
export { processClock, Suspension, type RawClocks } from './process-clock.ts'
export { keepLeases, type KeeperOptions, type KeepRequest, type LeaseKeeper } from './keeper/keeper.ts'
export type { KeptLease } from './keeper/kept-lease.ts'
