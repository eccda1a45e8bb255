/** The simulation parts and references. The suites stand at `./suites/*`. */
export { randomNumbers } from './xorshift.ts'
export { SeededRandom, drawSpan, type Span } from './random.ts'
export { Trace, type TraceSink } from './trace.ts'
export { SimulatedClock, ClockView, type SimulatedClockOptions, type ClockViewOptions } from './clock.ts'
export {
  SimulatedDisk,
  type SimulatedDiskOptions,
  type DiskOperation,
  type DiskCounts,
  type Fault,
  type CrashOutcome,
} from './disk/disk.ts'
export { SimulatedNetwork, type SimulatedNetworkOptions, type CrashOptions } from './network/network.ts'
export { memoryTransport, type MemoryTransportOptions } from './network/memory-transport.ts'
export {
  MemoryStorage,
  MemoryConnection,
  MemoryTransaction,
  memoryFormat,
  type MemoryChange,
  type MemoryCommit,
  type MemoryNote,
  type MemoryFormatOptions,
  type MemoryStorageOptions,
} from './memory/storage.ts'
export { SimulatedMachine, type MachineLife, type SimulatedMachineOptions } from './machine.ts'
export {
  SimulatedCoordinator,
  type SimulatedCoordinatorClient,
  type SimulatedCoordinatorOptions,
} from './coordinator/coordinator.ts'
export type { LinkFaults } from './coordinator/link.ts'
