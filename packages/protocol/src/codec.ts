/**
 * Messages to frames and back.
 *
 * Decides: the type byte of each message, and that a frame either decodes to a fully checked message or throws
 * `PROTOCOL_VIOLATION` (`PROTOCOL_VERSION` for the Hello of a newer version). Leaves the bodies to the modules beside it.
 *
 * 1. Type bytes are never reused.
 * 2. Decoding takes memory in proportion to the frame, never to a number in it.
 * 3. Large byte fields (`bytes`, `hashes`, `digest`, blobs) are views of the frame.
 */
import { isUnderstudyError } from '@understudy/contracts'
import {
  decodeAuthBegin,
  decodeAuthChallenge,
  decodeAuthDone,
  decodeAuthProof,
  encodeAuthBegin,
  encodeAuthBytes,
  encodeAuthDone,
} from './auth-messages.ts'
import {
  decodeHello,
  decodeWelcome,
  encodeHello,
  encodeRefuse,
  encodeWelcome,
  readRefusal,
} from './handshake.ts'
import { decodeMemberWord, encodeMemberWord } from './member-word.ts'
import type { Message } from './messages.ts'
import { decodeRequest, encodeRequest } from './requests.ts'
import { decodeResponse, encodeResponse } from './responses.ts'
import {
  decodeSnapshotAck,
  decodeSnapshotChunk,
  decodeSnapshotEnd,
  decodeSnapshotHashes,
  decodeSnapshotRequest,
  decodeSnapshotStart,
  encodeSnapshotAck,
  encodeSnapshotChunk,
  encodeSnapshotEnd,
  encodeSnapshotHashes,
  encodeSnapshotRequest,
  encodeSnapshotStart,
} from './snapshot.ts'
import {
  decodeAck,
  decodeHeartbeat,
  decodeRecords,
  encodeAck,
  encodeHeartbeat,
  encodeRecords,
} from './stream.ts'
import { FieldReader, unsendable, violation } from './wire.ts'

/** The first byte of a frame. */
export const MESSAGE_TYPES = {
  hello: 1,
  welcome: 2,
  refuse: 3,
  authBegin: 4,
  authChallenge: 5,
  authProof: 6,
  authDone: 7,
  records: 16,
  ack: 17,
  heartbeat: 18,
  snapshotRequest: 32,
  snapshotStart: 33,
  snapshotHashes: 34,
  snapshotChunk: 35,
  snapshotAck: 36,
  snapshotEnd: 37,
  request: 48,
  response: 49,
  memberWord: 64,
} as const

/**
 * The parts of the frame that carries `message`, for `Channel.send`. Large byte fields are passed through, not copied:
 * they must stay unchanged until they are sent. Throws `INVALID_ARGUMENT` for a message that breaks a limit.
 */
export function encodeMessage(message: Message): Uint8Array[] {
  switch (message.type) {
    case 'records':
      return encodeRecords(MESSAGE_TYPES.records, message)
    case 'ack':
      return [encodeAck(MESSAGE_TYPES.ack, message)]
    case 'heartbeat':
      return [encodeHeartbeat(MESSAGE_TYPES.heartbeat, message)]
    case 'snapshotChunk':
      return encodeSnapshotChunk(MESSAGE_TYPES.snapshotChunk, message)
    case 'snapshotAck':
      return [encodeSnapshotAck(MESSAGE_TYPES.snapshotAck, message)]
    case 'snapshotHashes':
      return encodeSnapshotHashes(MESSAGE_TYPES.snapshotHashes, message)
    case 'snapshotEnd':
      return encodeSnapshotEnd(MESSAGE_TYPES.snapshotEnd, message)
    case 'snapshotRequest':
      return [encodeSnapshotRequest(MESSAGE_TYPES.snapshotRequest, message)]
    case 'snapshotStart':
      return [encodeSnapshotStart(MESSAGE_TYPES.snapshotStart, message)]
    case 'request':
      return [encodeRequest(MESSAGE_TYPES.request, message)]
    case 'response':
      return [encodeResponse(MESSAGE_TYPES.response, message)]
    case 'memberWord':
      return encodeMemberWord(MESSAGE_TYPES.memberWord, message)
    case 'hello':
      return [encodeHello(MESSAGE_TYPES.hello, message)]
    case 'welcome':
      return [encodeWelcome(MESSAGE_TYPES.welcome, message)]
    case 'refuse':
      return [encodeRefuse(MESSAGE_TYPES.refuse, message)]
    case 'authBegin':
      return [encodeAuthBegin(MESSAGE_TYPES.authBegin, message)]
    case 'authChallenge':
      return [encodeAuthBytes(MESSAGE_TYPES.authChallenge, message.nonce)]
    case 'authProof':
      return [encodeAuthBytes(MESSAGE_TYPES.authProof, message.proof)]
    case 'authDone':
      return [encodeAuthDone(MESSAGE_TYPES.authDone, message)]
    default:
      throw unsendable(`no message has the type ${JSON.stringify(message satisfies never)}`)
  }
}

/**
 * The message in a frame. Throws `PROTOCOL_VIOLATION` when the bytes are none, `PROTOCOL_VERSION` when they are a Hello
 * that only a newer version can read. Large byte fields are views of `frame`.
 */
export function decodeMessage(frame: Uint8Array): Message {
  try {
    return decode(frame)
  } catch (error) {
    if (isUnderstudyError(error)) throw error
    throw violation(error instanceof Error ? error.message : 'it cannot be decoded', error)
  }
}

function decode(frame: Uint8Array): Message {
  const type = frame[0]
  switch (type) {
    case MESSAGE_TYPES.records:
      return decodeRecords(frame)
    case MESSAGE_TYPES.ack:
      return decodeAck(frame)
    case MESSAGE_TYPES.heartbeat:
      return decodeHeartbeat(body(frame))
    case MESSAGE_TYPES.snapshotChunk:
      return decodeSnapshotChunk(frame)
    case MESSAGE_TYPES.snapshotAck:
      return decodeSnapshotAck(frame)
    case MESSAGE_TYPES.snapshotHashes:
      return decodeSnapshotHashes(frame)
    case MESSAGE_TYPES.snapshotEnd:
      return decodeSnapshotEnd(frame)
    case MESSAGE_TYPES.snapshotRequest:
      return decodeSnapshotRequest(body(frame))
    case MESSAGE_TYPES.snapshotStart:
      return decodeSnapshotStart(body(frame))
    case MESSAGE_TYPES.request:
      return decodeRequest(body(frame))
    case MESSAGE_TYPES.response:
      return decodeResponse(body(frame))
    case MESSAGE_TYPES.memberWord:
      return decodeMemberWord(frame)
    case MESSAGE_TYPES.hello:
      return decodeHello(body(frame))
    case MESSAGE_TYPES.welcome:
      return decodeWelcome(body(frame))
    case MESSAGE_TYPES.refuse:
      return { type: 'refuse', ...readRefusal(body(frame)) }
    case MESSAGE_TYPES.authBegin:
      return decodeAuthBegin(body(frame))
    case MESSAGE_TYPES.authChallenge:
      return decodeAuthChallenge(body(frame))
    case MESSAGE_TYPES.authProof:
      return decodeAuthProof(body(frame))
    case MESSAGE_TYPES.authDone:
      return decodeAuthDone(body(frame))
    case undefined:
      throw violation('a frame is empty')
    default:
      throw violation(`no message has type ${type}`)
  }
}

function body(frame: Uint8Array): FieldReader {
  return new FieldReader(frame, 1)
}
