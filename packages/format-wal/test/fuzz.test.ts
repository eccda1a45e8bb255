/** `UNDERSTUDY_FUZZ_RUNS` and `UNDERSTUDY_FUZZ_SEED` choose how many mutants, and which. */
import { expect, test } from 'vitest'
import { fuzzPayloads } from './fuzz.ts'

const runs = Number(process.env['UNDERSTUDY_FUZZ_RUNS'] ?? 20_000)
const seed = Number(process.env['UNDERSTUDY_FUZZ_SEED'] ?? 0x5eed)

test(
  `${runs} mutated payloads: none is applied with another effect than the original (seed ${seed})`,
  { timeout: 3_600_000 },
  async () => {
    const result = await fuzzPayloads({ runs, seed })
    process.stdout.write(`${JSON.stringify(result)}\n`)
    expect(result.memoryBytesMax).toBeLessThan(512 * 1024 ** 2)
    expect(Object.keys(result.outcomes)).toEqual(
      expect.arrayContaining([
        'DIVERGED',
        'FORMAT_VERSION',
        'RECORD_CORRUPT',
        'SNAPSHOT_REQUIRED',
        'unchanged',
      ]),
    )
  },
)
