/**
 * Every message that nodes exchange, as the rest of the code sees it. How they stand in bytes: README.md.
 *
 * Where peers authenticate, a connection begins with AuthBegin, AuthChallenge, AuthProof and AuthDone (authentication.ts).
 * Then, or first, comes the dialler's Hello, answered by Welcome or Refuse. What follows depends on the purpose:
 *
 * | purpose     | dialler sends                              | listener sends                                    |
 * | ----------- | ------------------------------------------ | ------------------------------------------------- |
 * | `replicate` | Ack, Heartbeat                             | Records, Heartbeat                                |
 * | `snapshot`  | SnapshotRequest, SnapshotHashes, SnapshotAck, Heartbeat | SnapshotStart, SnapshotChunk, SnapshotEnd, Heartbeat |
 * | `client`    | Request                                    | Response                                          |
 * | `member`    | MemberWord                                 | nothing: its own words go over its own connection |
 *
 * Either side may send Refuse at any time; it is the last message it sends.
 */
import type {
  AckLevel,
  Condition,
  EpochEntry,
  EpochStamp,
  ErrorCode,
  LogPoint,
  Lsn,
  Position,
  PositionProof,
  Receipt,
  ReceiptReference,
} from '@understudy/contracts'

export type Purpose = 'replicate' | 'snapshot' | 'client' | 'member'

/** First message of a dialler that authenticates. */
export interface AuthBegin {
  readonly type: 'authBegin'
  readonly version: number
  readonly mechanism: 'secret' | 'certificate'
  /** Of the credential. */
  readonly name: string
  /** 32 random bytes. */
  readonly nonce: Uint8Array
  /** The dialler can read compressed frames, and would like to. */
  readonly compression: boolean
}

export interface AuthChallenge {
  readonly type: 'authChallenge'
  /** 32 random bytes. */
  readonly nonce: Uint8Array
}

export interface AuthProof {
  readonly type: 'authProof'
  /** 32 bytes. */
  readonly proof: Uint8Array
}

/** The dialler is let in. */
export interface AuthDone {
  readonly type: 'authDone'
  /** 32 bytes; empty after a certificate. */
  readonly signature: Uint8Array
  /** Both ends may compress frames from here on. */
  readonly compression: boolean
}

/** First message of a connection, or of one whose dialler has authenticated. */
export interface Hello {
  readonly type: 'hello'
  /** Protocol versions that the dialler speaks. */
  readonly versionMin: number
  readonly versionMax: number
  readonly purpose: Purpose
  /** Empty when the dialler belongs to no cluster yet. */
  readonly cluster: string
  readonly node: string
  /**
   * `replicate`: the dialler's log. Otherwise empty and the origin. Of a long history only the newest entries arrive, so
   * that a Hello stays below 4 KiB: compare entries by number and run id, not by their place in the list.
   */
  readonly history: readonly EpochEntry[]
  readonly end: LogPoint
  /** Log formats that the dialler can apply. */
  readonly formats: readonly FormatVersion[]
}

export interface FormatVersion {
  readonly id: number
  readonly version: number
  /** What the format needs its peers to share, of the dialler: text for people, at most 255 bytes. Absent: nothing, or not known. */
  readonly fingerprint?: string
}

/** What the follower has to do before records flow. */
export type Verdict =
  | { readonly kind: 'continue'; readonly from: Lsn }
  | { readonly kind: 'truncate'; readonly after: Lsn }
  | { readonly kind: 'snapshot'; readonly reason: string }

export interface Welcome {
  readonly type: 'welcome'
  readonly version: number
  readonly cluster: string
  readonly node: string
  readonly history: readonly EpochEntry[]
  readonly end: LogPoint
  /** For `replicate`; `continue` from 1 otherwise. After `truncate` the follower truncates and dials again. */
  readonly verdict: Verdict
  /** Each side sends something at least this often, and gives the other up after `deadlineMs` of silence. */
  readonly heartbeatMs: number
  readonly deadlineMs: number
}

/** Why the connection ends. */
export interface Refuse {
  readonly type: 'refuse'
  readonly code: ErrorCode
  readonly message: string
}

/** Records in log order, as they stand in the log. */
export interface Records {
  readonly type: 'records'
  /** Last position that satisfies the ack rule: followers apply up to here. */
  readonly highWatermark: Lsn
  /** Whole encoded records, back to back. */
  readonly bytes: Uint8Array
}

/** How far the follower is, in its own three steps. */
export interface Ack {
  readonly type: 'ack'
  readonly epoch: number
  readonly received: Lsn
  readonly durable: Lsn
  readonly applied: Lsn
}

export interface Heartbeat {
  readonly type: 'heartbeat'
  readonly epoch: number
  /** End of the sender's durable log. */
  readonly lsn: Lsn
  readonly highWatermark: Lsn
  /** Sender's monotonic clock in milliseconds. */
  readonly sentAtMs: number
  /** `sentAtMs` of the last heartbeat received from the peer plus the time since, for round-trip times; 0 when none came. */
  readonly echoMs: number
  /**
   * Leader: until so many milliseconds from when it sent this, a bit less, and longer while it hears from the follower, it answers no id above a
   * ceiling that this follower lacks. Missing: it promises nothing.
   */
  readonly idsPromiseMs?: number
  /** The sender's retention slots: every candidate keeps its log back to the lowest. Empty from followers. */
  readonly slots: readonly SlotPosition[]
}

export interface SlotPosition {
  readonly name: string
  readonly lsn: Lsn
}

export interface SnapshotRequest {
  readonly type: 'snapshotRequest'
  /** Id of a snapshot that broke off; empty for a new one. */
  readonly resumeId: string
  /** Bytes of it that are already there, from the start. */
  readonly resumeOffset: number
  /** The requester holds (part of) an image of this many bytes; above `resumeOffset` it can send hashes of its chunks. 0 when it holds none. */
  readonly heldBytes: number
  /** 0 for no limit. */
  readonly bytesPerSecondMax: number
}

export interface SnapshotStart {
  readonly type: 'snapshotStart'
  readonly id: string
  /** Position of the image. */
  readonly point: LogPoint
  readonly history: readonly EpochEntry[]
  readonly pageBytes: number
  readonly totalBytes: number
  /** Chunks stand at multiples of this; the last one may be shorter. A multiple of `pageBytes`. */
  readonly chunkBytes: number
  /**
   * `stream`: chunks follow from `offset`. `hashes`: send SnapshotHashes of the held chunks from `offset` on; each chunk
   * is answered as soon as its hash came, the ones after the last part too.
   */
  readonly mode: 'stream' | 'hashes'
  /** A multiple of `chunkBytes`, or `totalBytes`; at most `resumeOffset`, and 0 when `id` is not `resumeId`. */
  readonly offset: number
  /** Unacknowledged bytes that the sender keeps in flight. At least `chunkBytes`. */
  readonly windowBytes: number
}

/** 16 bytes (the first half of SHA-256) for each chunk held, in order, from `firstChunk`. Sent in parts; `last` marks the final part. */
export interface SnapshotHashes {
  readonly type: 'snapshotHashes'
  readonly firstChunk: number
  readonly hashes: Uint8Array
  readonly last: boolean
}

export interface SnapshotChunk {
  readonly type: 'snapshotChunk'
  readonly offset: number
  /** CRC-32 of `bytes`. */
  readonly crc: number
  /** Empty: the chunk that the receiver holds at `offset` is right; `crc` is that chunk's. */
  readonly bytes: Uint8Array
}

/** Everything below `offset` was taken. `totalBytes` only after SnapshotEnd: the image is verified and on the disk. */
export interface SnapshotAck {
  readonly type: 'snapshotAck'
  readonly offset: number
}

export interface SnapshotEnd {
  readonly type: 'snapshotEnd'
  /** SHA-256 over the CRC-32 of every chunk in order, four bytes each, little-endian. */
  readonly digest: Uint8Array
}

/**
 * What members of a cluster tell each other about who leads: a few a second, so JSON. What stands in it is the matter of
 * `failover`; here it is at most 256 KiB of UTF-8 text.
 */
export interface MemberWord {
  readonly type: 'memberWord'
  /** UTF-8. */
  readonly bytes: Uint8Array
}

/** A SQL value on the wire. */
export type Value = null | number | bigint | string | Uint8Array

export interface SqlStatement {
  /** Empty with `prepared`, and in a step that only requires something. */
  readonly sql: string
  readonly parameters: readonly Value[]
  /** Number under which the client had the statement prepared, from 1, instead of `sql`. */
  readonly prepared?: number
  /** Of a list: the statement is skipped unless this holds. */
  readonly when?: Condition
  /** Of a list: the step is no statement; unless this holds everything is rolled back. */
  readonly require?: Condition
  /** Of a list: rows that it must change. */
  readonly expect?: number
}

/** So many of these followers: any of them, or the first that stream. */
export interface FollowerSet {
  readonly kind: 'any' | 'first'
  readonly count: number
  readonly names: readonly string[]
}

/** What a write asks for beside its statements; each is optional. */
export interface WriteAsks {
  /** Where it must be before it is answered. */
  readonly ack?: AckLevel
  /** On which followers. */
  readonly of?: FollowerSet
  /** How long it waits for that, in milliseconds, at least 1. */
  readonly ackTimeoutMs?: number
  /** Sent again under the same key it is answered as the first time. */
  readonly key?: string
  /** A follower sends it on for a client of its own, whose roles it has checked. */
  readonly forwarded?: Forwarded
}

/** Who sends a write on, and for whom. */
export interface Forwarded {
  /** Name of the node. */
  readonly by: string
  /** Name of the client's credential; empty where nobody has to authenticate. */
  readonly author: string
}

/** A member of a cluster, and where clients reach it. */
export interface MemberAddress {
  readonly name: string
  readonly address: string
}

/** What a node knows of who leads. */
export interface Leadership {
  readonly node: string
  readonly cluster: string
  readonly role: 'leader' | 'follower'
  /** It leads, and has not stopped. */
  readonly takesWrites: boolean
  /** Lists of statements that it is given are sent on to its leader. */
  readonly forwardsWrites: boolean
  /** The newest epoch that it knows; absent before it knows one. */
  readonly epoch?: EpochStamp
  /** What its readers see. */
  readonly applied: LogPoint
  /** How old its reads may be, in milliseconds; 0 on a leader. Absent: it cannot prove it. */
  readonly stalenessMs?: number
  /** Absent: nobody leads, as far as it knows. Either may be empty: not known. */
  readonly leader?: MemberAddress
  /** As far as it knows them, itself and its leader included. */
  readonly members: readonly MemberAddress[]
}

/** What keeps something at the node for this client: see sql.ts. Handles are the client's own numbers, from 1. */
export type SqlRequestBody =
  /** Answered with `prepared`. A number that is in use is given to the new statement. */
  | { readonly kind: 'prepare'; readonly prepared: number; readonly sql: string }
  | { readonly kind: 'unprepare'; readonly prepared: number }
  /** Answered with results: none, and the position that it sees. A transaction that writes begins when its turn among the writes has come. */
  | ({
      readonly kind: 'begin'
      readonly transaction: number
      readonly readOnly: boolean
      /** How long it may be open. */
      readonly timeoutMs: number
      /** How long it may wait: for its turn, or for `after`. */
      readonly waitMs: number
      readonly after?: Position
      /** As of a read. */
      readonly afterProof?: PositionProof
    } & Omit<WriteAsks, 'key' | 'forwarded'>)
  /** One statement in a transaction. `bigints`: integers come as bigints, of whatever size. */
  | {
      readonly kind: 'run'
      readonly transaction: number
      readonly statement: SqlStatement
      readonly bigints?: boolean
    }
  | { readonly kind: 'end'; readonly transaction: number; readonly commit: boolean }
  /** The first page of a result, which stays open for `fetch` until its last page; in a transaction that only reads, or in a view of its own. */
  | {
      readonly kind: 'open'
      readonly stream: number
      readonly statement: SqlStatement
      readonly after?: Position
      readonly afterProof?: PositionProof
      readonly waitMs: number
      readonly timeoutMs: number
      readonly rowsMax: number
      readonly bytesMax: number
      readonly bigints?: boolean
      readonly transaction?: number
    }
  /** Credit for one page more. */
  | {
      readonly kind: 'fetch'
      readonly stream: number
      readonly rowsMax: number
      readonly bytesMax: number
    }
  | { readonly kind: 'cancel'; readonly stream: number }

export type RequestBody =
  | SqlRequestBody
  | { readonly kind: 'status' }
  | ({
      readonly kind: 'write'
      readonly statements: readonly SqlStatement[]
      /** Integers of rows come as bigints, of whatever size. */
      readonly bigints?: boolean
    } & WriteAsks)
  | {
      readonly kind: 'read'
      readonly statement: SqlStatement
      readonly after?: Position
      /** With it a history that holds another record there is told at once. */
      readonly afterProof?: PositionProof
      /** The node answers only when it can prove that it shows nothing older, in milliseconds, at least 1. */
      readonly stalenessMsMax?: number
      readonly timeoutMs: number
      readonly bigints?: boolean
    }
  /** Who leads. Answered at once, or, while the node knows of no other epoch than `unlessEpoch`, after `waitMs` at the latest. */
  | { readonly kind: 'whoLeads'; readonly unlessEpoch?: EpochStamp; readonly waitMs: number }
  /** Leader: writes a marker record; every node freezes a view there for a digest. */
  | { readonly kind: 'mark' }
  /** Digest of every table as of the marker at `at`. With `keep` the view stays for `rows`, until `release` or for a while. */
  | {
      readonly kind: 'digest'
      readonly at: Position
      readonly timeoutMs: number
      readonly keep?: boolean
    }
  | { readonly kind: 'slots' }
  /** What was committed with less protection than was asked for. `sinceMs`: wall clock, milliseconds since 1970. */
  | {
      readonly kind: 'exposure'
      readonly after?: Position
      readonly sinceMs?: number
      readonly byChoice?: boolean
      readonly timeoutMs: number
    }
  | { readonly kind: 'dropSlot'; readonly name: string }
  | { readonly kind: 'forget'; readonly name: string }
  /** Leader: records are of the log format of this name from the position on that answers. */
  | { readonly kind: 'switchFormat'; readonly format: string }
  /** Leader: another ack policy, from the position on that answers. What is not given stays as it is. */
  | {
      readonly kind: 'setAcks'
      /** Such as `any 1 (b, c) durable`. */
      readonly rule: string
      readonly onUnmet?: string
      readonly visibility?: string
      readonly ackTimeoutMs?: number
      /** The old rule ends without its acks. */
      readonly acceptLoss: boolean
    }
  /** Makes a member of the cluster its leader: the node that is asked, or `target`. */
  | {
      readonly kind: 'promote'
      readonly target?: string
      /** Acknowledged commits may be lost. */
      readonly acceptLoss: boolean
      readonly timeoutMs: number
    }
  /** The leader of now hands over to `target`, or to the best follower. */
  | { readonly kind: 'switchover'; readonly target?: string; readonly timeoutMs: number }
  /** Automatic failover of the whole cluster, off or on. */
  | { readonly kind: 'pauseFailover'; readonly paused: boolean }
  /** The newest decisions of the node about who leads: so many lines at most, oldest first. */
  | { readonly kind: 'decisions'; readonly limit: number }
  /** Rows of a table in a view that was kept, in the order of the digest, after the first `offset` ones. */
  | { readonly kind: 'rows'; readonly at: Position; readonly table: string; readonly offset: number }
  /** The view at `at` is not needed any more. */
  | { readonly kind: 'release'; readonly at: Position }
  /** What the node says of a receipt. */
  | { readonly kind: 'verdict'; readonly receipt: ReceiptReference }
  /** Leader: answers once so many followers, of whatever name, have the commit at this level. */
  | {
      readonly kind: 'reach'
      readonly receipt: ReceiptReference
      readonly level: AckLevel
      readonly count: number
      readonly timeoutMs: number
    }

export interface Request {
  readonly type: 'request'
  /** Chosen by the client, answered once. */
  readonly id: number
  /** The highest epoch that the client has seen: a leader of a lower one has been replaced, and must not do what is asked. */
  readonly epoch?: EpochStamp
  readonly body: RequestBody
}

export interface ResultSet {
  readonly columns: readonly string[]
  readonly rows: readonly (readonly Value[])[]
  readonly changes: number
  /** The condition of the statement did not hold. */
  readonly skipped?: true
  /** The statement failed, left nothing behind, and a condition asks for that. */
  readonly error?: StatementFailure
}

export interface StatementFailure {
  readonly code: ErrorCode
  readonly message: string
}

export interface TableDigest {
  readonly table: string
  readonly rows: number
  /** Hexadecimal. */
  readonly digest: string
}

/** Rows of one table as its digest has them. */
export interface TableRows {
  /** Columns of the PRIMARY KEY. */
  readonly key: readonly string[]
  /** The first is not of the table: it holds a letter for the type of each of the others (n, i, r, t, b). */
  readonly columns: readonly string[]
  /** Texts as the bytes that are stored. None at the end of the table. */
  readonly rows: readonly (readonly Value[])[]
}

/** What is known of a statement before it runs. */
export interface StatementShape {
  /** None for a statement that returns no rows, and for a client that may not read. */
  readonly columns: readonly ColumnShape[]
  readonly parameters: number
  readonly readOnly: boolean
}

export interface ColumnShape {
  readonly name: string
  /** As the table declares it; empty for an expression. */
  readonly type: string
}

/** A part of a result. */
export interface RowPage {
  readonly columns: readonly string[]
  readonly rows: readonly (readonly Value[])[]
  /** The stream is over, and closed. */
  readonly isLast: boolean
  /** Of the first page: what the node had applied when it read, and what tells that record from another. */
  readonly position?: Position
  readonly proof?: PositionProof
}

/** What the answer of a write says beside its results. */
export interface WriteSays {
  readonly receipt?: Receipt
  /** It was done before, under its key. */
  readonly replayed?: true
  /** Of one that was done before: whether the results are those of the first time; there are none otherwise. */
  readonly valueKept?: boolean
}

export type ResponseBody =
  /** JSON text: for people and monitoring, not for a hot path. */
  | { readonly kind: 'json'; readonly text: string }
  | ({
      readonly kind: 'results'
      readonly results: readonly ResultSet[]
      readonly position?: Position
      /** Of a read: of the record at `position`. */
      readonly proof?: PositionProof
    } & WriteSays)
  | { readonly kind: 'position'; readonly position: Position }
  | { readonly kind: 'digest'; readonly position: Position; readonly tables: readonly TableDigest[] }
  | ({ readonly kind: 'rows' } & TableRows)
  | ({ readonly kind: 'leadership' } & Leadership)
  | ({ readonly kind: 'prepared' } & StatementShape)
  | ({ readonly kind: 'page' } & RowPage)
  | {
      readonly kind: 'error'
      readonly code: ErrorCode
      readonly message: string
      /** The record that it is about: of a write that was written, or may have been. */
      readonly point?: LogPoint
      /** Of `NOT_LEADER`: the address of the leader, as far as the node knows. */
      readonly leader?: string
    }

export interface Response {
  readonly type: 'response'
  readonly id: number
  /** The newest epoch of the node when it answered. */
  readonly epoch?: EpochStamp
  readonly body: ResponseBody
}

export type Message =
  | AuthBegin
  | AuthChallenge
  | AuthProof
  | AuthDone
  | Hello
  | Welcome
  | Refuse
  | Records
  | Ack
  | Heartbeat
  | SnapshotRequest
  | SnapshotStart
  | SnapshotHashes
  | SnapshotChunk
  | SnapshotAck
  | SnapshotEnd
  | Request
  | Response
  | MemberWord
