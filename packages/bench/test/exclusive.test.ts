import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { exclusively } from '../src/acks/exclusive.ts'

test('processes that are gone cannot have the processors, and nothing is measured', async () => {
  const child = spawn(process.execPath, ['-e', ''])
  await once(child, 'exit')
  let measured = false
  const measure = async (): Promise<void> => void (measured = true)
  await expect(exclusively([child.pid as number], measure)).rejects.toMatchObject({
    code: 'UNSUPPORTED_RUNTIME',
  })
  expect(measured).toBe(false)
})
