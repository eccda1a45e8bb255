export { sqliteCoordinator, type SqliteCoordinatorOptions } from './sqlite-coordinator.ts'
export type { Machine } from './machine.ts'
