import type { ViteUserConfig } from 'vitest/config'
import base from '../../vitest.config.ts'

/** A test that hangs is one that fails: it need not hang for long. */
const config: ViteUserConfig = {
  ...base,
  test: {
    ...base.test,
    include: ['test/breaches/*.breaches.ts'],
    testTimeout: 3000,
    hookTimeout: 2000,
    reporters: ['json'],
  },
}

export default config
