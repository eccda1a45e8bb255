import { readdir } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { runAcks, type Reporter } from '../src/index.ts'
import { testFolder } from './folder.ts'

const TIMEOUT_MS = 240_000

const folder = testFolder()

test(
  'a tiny run measures policies beside none, over loopback and over a slow network, with nodes that are equal',
  async () => {
    const steps: string[] = []
    const reporter: Reporter = {
      begin: () => undefined,
      step: (note) => steps.push(note),
      end: () => undefined,
    }
    const { figures, details } = await runAcks(reporter, {
      directory: folder.path,
      rounds: 1,
      seconds: 0.2,
      policy: ['async', 'durable'],
    })
    expect(figures.durableVsAsync64).toBeGreaterThan(0)
    expect(figures.durable256At20ms).toBeGreaterThan(0)
    expect(figures.syncVsAsync1).toBeNull()
    const rates = details.policies?.policies.durable?.['64']
    expect(rates?.commitsPerSecond.median).toBeGreaterThan(0)
    expect(rates?.followersUs.median).toBeGreaterThan(0)
    const delayed = details.delays?.['20ms']
    // Who waits for a follower waits for the network. (Who does not waits for a busy machine all the same.)
    expect(delayed?.policies.durable?.['64']?.p50Ms.median).toBeGreaterThan(20)
    expect(delayed?.heldMs['durable']?.p50).toBeGreaterThan(9.9)
    expect(steps.filter((step) => step.includes('round 1: '))).toHaveLength(2 * 3 + 2 * 2 * 2)
    expect(await readdir(folder.path)).toEqual([])
  },
  TIMEOUT_MS,
)
