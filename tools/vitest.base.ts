import { defineConfig, type ViteUserConfig } from 'vitest/config'

/** The one vitest configuration: each package re-exports it, because vitest looks up no config in parent folders. */
const conditions = ['@understudy/source', 'node', 'import', 'default']

const config: ViteUserConfig = defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/**/*.slow.test.ts'],
    reporters: ['default', ['json', { outputFile: '.vitest/results.json' }]],
    pool: 'forks',
    execArgv: ['--conditions=@understudy/source', '--disable-warning=ExperimentalWarning'],
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
})

export default config
