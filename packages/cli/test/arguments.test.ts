import { Command } from 'commander'
import { expect, test } from 'vitest'
import { names, positive, whole } from '../src/arguments.ts'

test('a list is by commas, and an option that is given again adds to it', () => {
  const command = new Command().option('--transport <names>', 'transports', names)
  command.parse(['--transport', 'tcp, tls', '--transport', 'ws'], { from: 'user' })
  expect(command.opts()).toStrictEqual({ transport: ['tcp', 'tls', 'ws'] })
})

test.each(['', ' ', '-1', '1.5', 'x', '9007199254740993'])("'%s' is no whole number", (text) => {
  expect(() => whole(text)).toThrow('whole number')
  expect(() => positive(text)).toThrow('positive whole number')
})
