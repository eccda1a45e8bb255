/**
 * Ids of tables with AUTOINCREMENT: what a storage says of them, and what it remembers of their ceilings, in a table that is replicated
 * like the user's own. So every record that is durable on a node, and every snapshot of it, carries the ceilings as of its position.
 */

/** What is remembered of one table. */
export interface IdCeiling {
  /** The highest id that may be given, once it is in force. */
  readonly ceiling: bigint
  /** The highest ceiling that was known to be in force when this was written: ids up to it may have been answered. */
  readonly inForce: bigint
}

export interface StoredIds {
  /** By table. Names of tables that are gone stay. */
  readonly ceilings: ReadonlyMap<string, IdCeiling>
  /** Nodes that were waited for before a ceiling came into force. */
  readonly members: readonly string[]
  /** Tables that were made since a leader leapt gave ids above this only; 0 when none did. */
  readonly floor: bigint
}

/** Every method works on the writer's connection, in whatever transaction is open there. */
export interface IdTable {
  /** Throws `DATABASE_UNSUITABLE` when a table of that name is not as a node made it. */
  stored(): StoredIds
  /** The largest id that each table with AUTOINCREMENT has given; 0 where it gave none. */
  counters(): ReadonlyMap<string, bigint>
  /** Notices statements of users that may move a counter, or change which tables have one. New tables begin above the floor. */
  watch(): IdWatch
  /** Inside a write of the storage. What the next four change is told to the recorder like the user's own statements. */
  putCeiling(table: string, ceiling: IdCeiling): void
  /** Inside a write of the storage: a node is waited for from now on, or no more. */
  putMember(name: string, isMember: boolean): void
  /** Inside a write of the storage: tables that are made from now on, while `watch` is open, give ids above this only. */
  putFloor(floor: bigint): void
  /** Inside a write of the storage: the next id of a table is above `value`; also of one that is not there, where any table has a counter. */
  setCounter(table: string, value: bigint): void
}

export interface IdWatch {
  /** Whether one ran since the last call; true at the first. */
  touched(): boolean
  close(): void
}
