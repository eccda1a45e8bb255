import { readdir } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { runTransports, type Reporter } from '../src/index.ts'
import { testFolder } from './folder.ts'

const TIMEOUT_MS = 120_000
const SILENT: Reporter = { begin: () => undefined, step: () => undefined, end: () => undefined }

const folder = testFolder()

test(
  'a tiny run sends over each kind of connection in real processes, loses nothing and leaves nothing behind',
  async () => {
    const steps: string[] = []
    const { figures, details, machine } = await runTransports(
      { ...SILENT, step: (note) => steps.push(note) },
      { directory: folder.path, rounds: 1, seconds: 0.1, only: ['throughput'], transport: ['tls', 'ws'] },
    )
    for (const name of ['tlsVsTls100', 'tlsVsTls64k', 'wsVsWs1k'] as const)
      expect({ [name]: figures[name] }).toEqual({ [name]: expect.any(Number) })
    expect(figures.tcpVsNet1k).toBeNull()
    expect(figures.wssVsWss1k).toBeNull()
    expect(figures.rowBytes).toBeNull()
    const rates = details.throughput?.kinds.wsDialled?.['1k']
    expect(rates?.vsBare).toHaveLength(1)
    expect(rates?.receiveNs).toBeGreaterThan(0)
    expect(rates?.megabytesPerSecond).toBeCloseTo(((rates?.messagesPerSecond.median ?? 0) * 1024) / 1e6)
    expect(machine.processors).toBeGreaterThan(0)
    expect(steps).toHaveLength(7 * 3)
    expect(await readdir(folder.path)).toEqual([])
  },
  TIMEOUT_MS,
)

test.runIf(process.platform === 'linux')(
  'a tiny run keeps strangers and idle clients connected while a leader is measured',
  async () => {
    const { figures, details } = await runTransports(SILENT, {
      directory: folder.path,
      rounds: 1,
      hostileSeconds: 0.2,
      strangers: 40,
      only: ['tcpHostileVsQuiet'],
      transport: ['tcp'],
    })
    expect(figures.tcpHostileVsQuiet).toBeGreaterThan(0)
    expect(figures.tcpIdleClientsVsQuiet).toBeGreaterThan(0)
    expect(figures.wsHostileVsQuiet).toBeNull()
    const rounds = details.hostile?.rounds ?? {}
    for (const side of ['default hostile', 'all hostile', 'all idleClients'])
      expect(rounds).toMatchObject({ [`tcp ${side} connections`]: { median: 40 } })
    expect(rounds['tcp memory connections']?.median).toBe(40)
    expect(rounds['tcp all hostile cpuShare']?.median).toBeGreaterThan(0)
    expect(await readdir(folder.path)).toEqual([])
  },
  TIMEOUT_MS,
)

test(
  'a tiny run measures a format with and without compression, and compression takes effect',
  async () => {
    const { figures } = await runTransports(SILENT, {
      directory: folder.path,
      rounds: 1,
      seconds: 0.2,
      only: ['compression'],
      format: ['row'],
    })
    expect(figures.rowZstdBytes).toBeLessThan(0.9 * (figures.rowBytes as number))
    expect(figures.rowZstdVsPlain).toBeGreaterThan(0)
    expect(figures.walZstdBytes).toBeNull()
    expect(figures.tcpVsNet1k).toBeNull()
  },
  TIMEOUT_MS,
)
