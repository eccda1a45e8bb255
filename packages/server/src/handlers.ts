/** What a node answers its clients with, and what the server needs to know of it. */
import type {
  AckLevel,
  EpochHistory,
  EpochStamp,
  Exposure,
  ExposureOptions,
  LogPoint,
  Position,
  PositionProof,
  ReceiptReference,
  ReceiptVerdict,
} from '@understudy/contracts'
import type {
  Leadership,
  RequestBody,
  ResultSet,
  RowPage,
  SqlStatement,
  StatementShape,
  TableDigest,
  TableRows,
  WriteAsks,
  WriteSays,
} from '@understudy/protocol'

/** Values may be returned at once or as promises. */
export type Answer<T> = T | Promise<T>

/** What fits into an answer. Collect no more than the first row that is over one: the answer will be refused. */
export interface ResultLimits {
  readonly rowsMax: number
  readonly bytesMax: number
}

/** The same of one statement, and how integers come. */
export interface StatementLimits extends ResultLimits {
  /** Integers as bigints, of whatever size. Default false: as numbers where that is exact. */
  readonly bigints?: boolean
}

export interface ReadRequest extends StatementLimits {
  /** The node answers only when it has applied this position, or throws `TIMEOUT`. */
  readonly after: (Position & Partial<PositionProof>) | undefined
  /** The node answers only when it can prove that it shows nothing older, in milliseconds, or throws `TOO_STALE`. */
  readonly stalenessMsMax?: number
  /** Milliseconds for that wait. */
  readonly timeoutMs: number
  /** The client is gone: nobody waits for the answer. */
  readonly signal: AbortSignal
}

export interface DigestRequest {
  readonly timeoutMs: number
  readonly signal: AbortSignal
  /** The view stays for `rows`. */
  readonly keep: boolean
}

export interface ExposureRequest extends ExposureOptions {
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** What a write asks for: whose acks, under which key; the limits are for all its results together. */
export interface WriteRequest extends StatementLimits, WriteAsks {
  /** The highest epoch that the client has seen. */
  readonly epoch?: EpochStamp
  /** Who asks: the name of the client's credential; empty where nobody has to authenticate. */
  readonly author: string
}

export interface WhoLeadsRequest {
  /** While the node knows of no other epoch it waits, */
  readonly unlessEpoch: EpochStamp | undefined
  /** for so many milliseconds at most. */
  readonly waitMs: number
  readonly signal: AbortSignal
}

export interface OpenRequest {
  /** Milliseconds that it may wait: for its turn, or for `after`. */
  readonly waitMs: number
  /** The client is gone, or gave up: what waits is given up, what is open ends. */
  readonly signal: AbortSignal
}

export interface OpenReadRequest extends OpenRequest {
  /** As of a read. */
  readonly after: ReadRequest['after']
}

export interface OpenWriteRequest extends OpenRequest, Omit<WriteAsks, 'key' | 'forwarded'> {
  /** Milliseconds that it may be open. */
  readonly timeoutMs: number
}

/** A result in parts. */
export interface RowCursor {
  /** The next rows: at least one, unless there is none. */
  next(limits: ResultLimits): Omit<RowPage, 'position'>
  close(): void
}

/** One view of the database, until it is closed. */
export interface OpenRead {
  readonly position: Position | undefined
  /** What tells its record from another in its place. */
  readonly proof?: PositionProof
  run(statement: SqlStatement, limits: StatementLimits): ResultSet
  cursor(statement: SqlStatement, options: { readonly bigints: boolean }): RowCursor
  close(): void
}

/** A transaction that writes, until one of the two is called; the node may end it before. */
export interface OpenWrite {
  readonly position: Position | undefined
  run(statement: SqlStatement, limits: StatementLimits): ResultSet
  commit(): Promise<WriteAnswer>
  /** Resolves when nothing of it is left. */
  rollback(): Promise<void>
}

export interface WriteAnswer extends WriteSays {
  /** One for each statement; none when it was done before and they were not kept. */
  readonly results: readonly ResultSet[]
  /** Of the record that holds the write; `undefined` when it changed nothing. */
  readonly position: Position | undefined
}

export interface ReachRequest {
  readonly level: AckLevel
  readonly count: number
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** Names a member of the cluster; absent: the node that is asked, or the best follower. */
export interface SwitchoverRequest {
  readonly target?: string
  readonly timeoutMs: number
}

export interface PromoteRequest extends SwitchoverRequest {
  /** Acknowledged commits may be lost. */
  readonly acceptLoss: boolean
}

export interface DecisionsRequest {
  readonly limit: number
  /** UTF-8 bytes of all lines. */
  readonly bytesMax: number
}

export interface ReadAnswer {
  readonly result: ResultSet
  /** What the node had applied when it read; `undefined` when it has applied nothing yet. */
  readonly position: Position | undefined
  /** Of the record there. */
  readonly proof?: PositionProof
}

export interface DigestAnswer {
  readonly position: Position
  readonly tables: readonly TableDigest[]
}

/** What is not given stays as it is. */
export type AcksRequest = Omit<Extract<RequestBody, { readonly kind: 'setAcks' }>, 'kind'>

/**
 * The node behind the server. What these throw reaches the client as a code and a message: an `UnderstudyError` with
 * its own, an error of SQLite as `SQL_FAILED`, anything else as `OUTCOME_UNKNOWN` (for a write) or `REQUEST_FAILED`.
 */
export interface ClientHandlers {
  /** Plain data; bigints travel as strings. */
  status(): Answer<object>
  /** All statements as one write, or none; one may depend on the outcome of earlier ones. */
  write(statements: readonly SqlStatement[], request: WriteRequest): Answer<WriteAnswer>
  read(statement: SqlStatement, request: ReadRequest): Answer<ReadAnswer>
  /** What the node knows of who leads. */
  whoLeads(request: WhoLeadsRequest): Answer<Leadership>
  /** What is known of a statement, whatever it would do; it is not run. */
  describe(sql: string): Answer<StatementShape>
  openRead(request: OpenReadRequest): Promise<OpenRead>
  /** Leader: resolves when its turn among the writes has come; they wait until it ends. */
  openWrite(request: OpenWriteRequest): Promise<OpenWrite>
  /** Leader: writes a marker record and returns its position. */
  mark(): Answer<Position>
  /** Digests as of the marker at `at`. */
  digest(at: Position, request: DigestRequest): Answer<DigestAnswer>
  /** Rows of a table in the view at `at` that was kept, after the first `offset` ones. */
  rows(at: Position, table: string, offset: number): Answer<TableRows>
  /** What the node says of a receipt. */
  verdict(receipt: ReceiptReference): Answer<ReceiptVerdict>
  /** Leader: waits until so many followers have the commit at the level. Plain data. */
  reach(receipt: ReceiptReference, request: ReachRequest): Answer<object>
  /** Nobody needs the view at `at` any more. */
  release(at: Position): Answer<void>
  /** Plain data, one object for each retention slot. */
  slots(): Answer<readonly object[]>
  dropSlot(name: string): Answer<void>
  /** Leader: drops the slot of a follower that is gone for good, and all that is known of it. */
  forget(name: string): Answer<void>
  /** What was committed with less protection than was asked for. */
  exposure(request: ExposureRequest): Answer<Exposure>
  /** Leader: returns the position from which another ack policy is in force. */
  setAcks(request: AcksRequest): Answer<Position>
  /** A member leads from now on. Plain data. */
  promote(request: PromoteRequest): Answer<object>
  /** The leader hands over. Plain data. */
  switchover(request: SwitchoverRequest): Answer<object>
  /** Automatic failover, off or on. */
  pauseFailover(paused: boolean): Answer<void>
  /** The newest lines of what the node decided about who leads, oldest first. */
  decisions(request: DecisionsRequest): Answer<readonly string[]>
  /** Leader: returns the position from which records are of the log format of this name. */
  switchFormat(format: string): Answer<Position>
}

/** What a Welcome says of this node. */
export interface NodeIdentity {
  readonly cluster: string
  readonly node: string
  readonly history: EpochHistory
  readonly end: LogPoint
}
