/** Whole clusters from a few seeds. */
import { walk } from '../model/ack-model.ts'
import { COURSES } from '../model/courses.ts'
import { ACK_SHAPES } from '../simulation/acks.ts'
import { simulate } from '../simulation/simulation.ts'
import type { Shape } from '../simulation/shape.ts'

const SEEDS = 25
const ACK_SEEDS = 12

/** Power losses of a leader that writes many transactions in parts to a slow disk. */
export const CHAINS: Partial<Shape> = {
  followers: 2,
  chaosMs: 5000,
  snapshot: {
    keepMs: 300,
    chunkBytes: 4096,
    windowBytes: 65_536,
    bytesPerSecondMax: 0,
    flushBytes: 65_536,
  },
  faults: [
    { kind: 'powerLossLeader', weight: 5 },
    { kind: 'heal', weight: 1 },
  ],
  faultGapMs: { min: 50, max: 300 },
  downMs: { min: 0, max: 10 },
  syncMs: { min: 10, max: 60 },
  thinkMs: { min: 1, max: 20 },
  burstMax: 3,
  clients: 3,
  bigValueChance: 0.5,
  bigValueBytesMax: 6000,
  pipeline: {
    recordBytesMax: 200,
    groupWritesMax: 4,
    queueWritesMax: 64,
    writeTimeoutMs: 5000,
    syncHereMsMax: 1e-9,
  },
}

export const CHAIN_SEEDS: readonly string[] = ['chain-1', 'chain-2', 'chain-3', 'chain-4']

export async function cluster(): Promise<void> {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { breach } = await simulate(seed)
    if (breach !== undefined) throw breach
  }
}

/** Each ack policy, through faults. */
export async function acks(): Promise<void> {
  for (let seed = 1; seed <= ACK_SEEDS; seed++)
    for (const shape of Object.values(ACK_SHAPES)) {
      const { breach } = await simulate(`acks-${seed}`, shape)
      if (breach !== undefined) throw breach
    }
}

/** Changes of the ack rule, every interleaving of them. */
export function ackModel(): Promise<void> {
  return Promise.resolve().then(() => {
    for (const course of Object.values(COURSES)) walk(course)
  })
}

export async function chains(): Promise<void> {
  for (const seed of CHAIN_SEEDS) {
    const { breach } = await simulate(seed, CHAINS)
    if (breach !== undefined) throw breach
  }
}

/** Power losses of nodes that write much, checkpoint often and may keep little. */
const TIGHT: Partial<Shape> = {
  ...CHAINS,
  faults: [
    { kind: 'powerLossLeader', weight: 2 },
    { kind: 'powerLossFollower', weight: 2 },
  ],
  faultGapMs: { min: 100, max: 600 },
  syncMs: { min: 0.1, max: 2 },
  segmentBytes: 8192,
  slotBytesMax: 4000,
  checkpointBytes: 3000,
  checkpointIntervalMs: 20,
}

export async function tightLogs(): Promise<void> {
  for (const seed of ['tight-1', 'tight-2', 'tight-3', 'tight-4']) {
    const { breach } = await simulate(seed, TIGHT)
    if (breach !== undefined) throw breach
  }
}
