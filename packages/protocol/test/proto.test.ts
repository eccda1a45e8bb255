/** The hand-written codec against protobufjs' own, made from the published .proto at run time. */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import * as fc from 'fast-check'
import type protobufjs from 'protobufjs'
import { expect, test } from 'vitest'
import { decodeMessage, encodeMessage, MESSAGE_TYPES } from '../src/index.ts'
import { messagesOf } from './messages.ts'

// Under the test runner's import conditions protobufjs finds no `long` and would round 64-bit integers: give it one.
const require = createRequire(import.meta.url)
const protobuf = require('protobufjs') as typeof protobufjs
const long = createRequire(require.resolve('protobufjs'))('long') as { default?: unknown }
protobuf.util.Long = (long.default ?? long) as typeof protobuf.util.Long
protobuf.configure()

const source = readFileSync(new URL('../src/protocol.proto', import.meta.url), 'utf8')
const root = protobuf.parse(source).root

const TYPES = {
  authBegin: 'AuthBegin',
  authChallenge: 'AuthChallenge',
  authProof: 'AuthProof',
  authDone: 'AuthDone',
  hello: 'Hello',
  welcome: 'Welcome',
  refuse: 'Refuse',
  heartbeat: 'Heartbeat',
  snapshotRequest: 'SnapshotRequest',
  snapshotStart: 'SnapshotStart',
  request: 'Request',
  response: 'Response',
} as const

test.each(Object.keys(TYPES) as (keyof typeof TYPES)[])(
  '%s is byte for byte what the .proto says',
  (name) => {
    const codec = root.lookupType(`understudy.v1.${TYPES[name]}`)
    fc.assert(
      fc.property(messagesOf(name), (message) => {
        const frame = Buffer.concat(encodeMessage(message))
        // A decoded message has only the fields that the .proto names, so nothing else can come back.
        const written = codec.encode(codec.decode(frame.subarray(1))).finish()
        expect(Buffer.from(written).toString('hex')).toBe(frame.subarray(1).toString('hex'))
        expect(decodeMessage(Buffer.concat([Buffer.from([MESSAGE_TYPES[name]]), written]))).toStrictEqual(
          message,
        )
      }),
      { numRuns: 150 },
    )
  },
)

test('fields mean what the .proto names them', () => {
  const codec = root.lookupType('understudy.v1.Hello')
  const frame = Buffer.concat(
    encodeMessage({
      type: 'hello',
      versionMin: 1,
      versionMax: 2,
      purpose: 'snapshot',
      cluster: 'c',
      node: 'n',
      history: [{ number: 3, runId: '00000000000000ff', leader: 'l', firstLsn: 4, crcBefore: 5 }],
      end: { epoch: 3, lsn: 2 ** 53 - 1, crc: 6 },
      formats: [{ id: 1, version: 7 }],
    }),
  )
  expect(codec.toObject(codec.decode(frame.subarray(1)), { longs: Number, enums: String })).toEqual({
    magic: 0x59445355,
    versionMin: 1,
    versionMax: 2,
    purpose: 'PURPOSE_SNAPSHOT',
    cluster: 'c',
    node: 'n',
    end: { epoch: 3, lsn: 2 ** 53 - 1, crc: 6 },
    formats: [{ id: 1, version: 7 }],
    history: [{ number: 3, runId: 255, leader: 'l', firstLsn: 4, crcBefore: 5 }],
  })
})
