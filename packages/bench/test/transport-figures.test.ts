import { createPrivateKey, X509Certificate } from 'node:crypto'
import { expect, test } from 'vitest'
import { TRANSPORT_FIGURES, TRANSPORT_FIGURE_NAMES, TRANSPORT_SCENARIO_NAMES, meets } from '../src/index.ts'
import { Samples } from '../src/rounds.ts'
import { compressionFigures } from '../src/scenarios/compression.ts'
import { hostileFigures, keyOf } from '../src/scenarios/hostile.ts'
import { assertAllCame, throughputFigures } from '../src/scenarios/throughput.ts'
import { allTransportFigures } from '../src/transports/figures.ts'
import { GROUPS, KINDS, SIZE_NAMES } from '../src/transports/kinds.ts'
import { resolveTransportOptions, scenarioOf } from '../src/transports/options.ts'
import { selfSigned } from '../src/transports/self-signed.ts'

const KEYS = `
  tcpVsNet100 tcpVsNet1k tcpVsNet64k wsVsWs100 wsVsWs1k wsVsWs64k
  unixVsNet100 unixVsNet1k unixVsNet64k tlsVsTls100 tlsVsTls1k tlsVsTls64k
  wssVsWss100 wssVsWss1k wssVsWss64k
  tcpHostileVsQuiet tcpHostileAllVsQuiet wsHostileVsQuiet wsHostileAllVsQuiet
  tcpIdleClientsVsQuiet wsIdleClientsVsQuiet tcpStrangerKiB wsStrangerKiB
  rowBytes rowZstdBytes rowZstdVsPlain
  statementBytes statementZstdBytes statementZstdVsPlain
  walBytes walZstdBytes walZstdVsPlain
`
  .trim()
  .split(/\s+/)

test('a result has exactly the published keys, whatever was measured', () => {
  expect(Object.keys(allTransportFigures({}))).toEqual(KEYS)
  expect(allTransportFigures({ tcpVsNet1k: 1 })).toMatchObject({ tcpVsNet1k: 1, walBytes: null })
})

test('what was promised has a target: transports at 1 and 64 KiB, a node beside others, memory', () => {
  const withTarget = TRANSPORT_FIGURE_NAMES.filter((name) => TRANSPORT_FIGURES[name].target !== undefined)
  expect(withTarget.map((name) => `${name} ${JSON.stringify(TRANSPORT_FIGURES[name].target)}`)).toEqual([
    'tcpVsNet1k {"atLeast":0.8}',
    'tcpVsNet64k {"atLeast":0.8}',
    'wsVsWs1k {"atLeast":0.8}',
    'wsVsWs64k {"atLeast":0.8}',
    'tcpHostileVsQuiet {"atLeast":0.9}',
    'tcpHostileAllVsQuiet {"atLeast":0.9}',
    'wsHostileVsQuiet {"atLeast":0.9}',
    'wsHostileAllVsQuiet {"atLeast":0.9}',
    'tcpIdleClientsVsQuiet {"atLeast":0.9}',
    'wsIdleClientsVsQuiet {"atLeast":0.9}',
    'tcpStrangerKiB {"atMost":16}',
    'wsStrangerKiB {"atMost":16}',
  ])
  expect(meets(TRANSPORT_FIGURES.walBytes, 1)).toBeUndefined()
})

test('every kind stands beside a bare one of the same transport, and WebSocket beside one of the same direction', () => {
  expect(GROUPS.flat().toSorted()).toEqual(Object.keys(KINDS).toSorted())
  for (const [bare, ...kinds] of GROUPS)
    for (const kind of kinds) {
      expect(KINDS[kind]).toMatchObject({ bare: false, transport: KINDS[bare].transport })
      if (KINDS[kind].transport.startsWith('ws')) expect(KINDS[kind].direction).toBe(KINDS[bare].direction)
    }
})

test('a transport is compared with the bare socket of the same round, and the worse direction counts', () => {
  const samples = new Samples()
  const rates = { net: [100, 10, 50], tcpDialled: [90, 9, 100], tcpAccepted: [70, 10, 35] }
  for (const [kind, values] of Object.entries(rates))
    for (const size of SIZE_NAMES) for (const value of values) samples.push(`${kind} ${size}`, value)
  const figures = throughputFigures(samples)
  expect(Object.keys(figures)).toEqual(['tcpVsNet100', 'tcpVsNet1k', 'tcpVsNet64k'])
  expect(figures.tcpVsNet1k).toBeCloseTo(0.7)
})

test('a disturbed leader is compared with the quiet one of the same round', () => {
  const samples = new Samples()
  const push = (
    limits: 'default' | 'all',
    side: 'quiet' | 'hostile' | 'idleClients',
    values: number[],
  ): void => values.forEach((value) => samples.push(keyOf('ws', limits, side, 'perSecond'), value))
  push('default', 'quiet', [100, 10, 50])
  push('default', 'hostile', [95, 8, 45])
  push('all', 'quiet', [10, 10, 10])
  push('all', 'hostile', [7, 8, 9])
  push('all', 'idleClients', [10, 11, 9])
  for (const value of [5, 6, 10]) samples.push('ws memory KiB', value)
  expect(hostileFigures(samples, ['ws'])).toEqual({
    wsHostileVsQuiet: 0.9,
    wsHostileAllVsQuiet: 0.8,
    wsIdleClientsVsQuiet: 1,
    wsStrangerKiB: 6,
  })
})

test('compression is compared within a round, too', () => {
  const samples = new Samples()
  for (const format of ['row', 'statement', 'wal'])
    for (const [side, rate] of [
      ['plain', [100, 10, 50]],
      ['zstd', [80, 9, 60]],
    ] as const) {
      for (const value of rate) samples.push(`${format} ${side} commits/s`, value)
      samples.push(`${format} ${side} bytes`, side === 'plain' ? 140 : 90)
    }
  const formats = ['row', 'statement', 'wal'] as const
  expect(compressionFigures(samples, formats)).toMatchObject({
    rowBytes: 140,
    walZstdBytes: 90,
    rowZstdVsPlain: 0.9,
  })
})

test('a message that was lost, or cut, ends the run', () => {
  const sent = { messages: 10, cpuSeconds: 0 }
  const received = { seconds: 1, cpuSeconds: 0, bytes: 1000, messages: 10 }
  assertAllCame('tcpDialled', 100, sent, received)
  for (const wrong of [{ bytes: 900 }, { messages: 9 }, { messages: 11 }])
    expect(() => assertAllCame('tcpDialled', 100, sent, { ...received, ...wrong })).toThrow(
      expect.objectContaining({ code: 'REQUEST_FAILED' }),
    )
})

test('a figure brings its whole scenario, every scenario has figures, and unknown names are refused', () => {
  expect(new Set(TRANSPORT_FIGURE_NAMES.map(scenarioOf))).toEqual(new Set(TRANSPORT_SCENARIO_NAMES))
  expect(resolveTransportOptions({ only: ['walZstdBytes'] }).scenarios).toEqual(['compression'])
  expect(resolveTransportOptions({ only: ['wsStrangerKiB', 'throughput'] }).scenarios).toEqual([
    'throughput',
    'hostile',
  ])
  expect(resolveTransportOptions()).toMatchObject({
    rounds: 5,
    seconds: 1,
    hostileSeconds: 6,
    strangers: 1000,
  })
  expect(resolveTransportOptions({ transport: ['ws', 'tcp'] }).transports).toEqual(['tcp', 'ws'])
  for (const options of [
    { only: ['speed'] },
    { transport: ['udp'] },
    { format: ['json'] },
    { strangers: 0 },
    { hostileSeconds: -1 },
  ])
    expect(() => resolveTransportOptions(options)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    )
})

test('the certificate of a run is for this machine, signed with its own key, and another one each time', () => {
  const { cert, key } = selfSigned()
  const parsed = new X509Certificate(cert)
  expect(parsed.checkIP('127.0.0.1')).toBe('127.0.0.1')
  expect(parsed.checkHost('localhost')).toBe('localhost')
  expect(parsed.checkIP('127.0.0.2')).toBeUndefined()
  expect(parsed.verify(parsed.publicKey)).toBe(true)
  expect(parsed.checkPrivateKey(createPrivateKey(key))).toBe(true)
  expect(selfSigned().key).not.toBe(key)
})
