import type { ViteUserConfig } from 'vitest/config'
import base from './vitest.base.ts'

/** For `*.slow.test.ts`, which measure or try for minutes: `npx vitest run --config ../../tools/vitest.slow.ts` in a package. */
const config: ViteUserConfig = {
  ...base,
  test: { ...base.test, include: ['test/**/*.slow.test.ts'], exclude: [], reporters: ['default'] },
}

export default config
