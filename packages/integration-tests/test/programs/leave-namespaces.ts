/** Makes a network, leaves a program running in it whose pid it prints, and waits to be killed. Argument: a folder. */
import { spawn } from 'node:child_process'
import { Namespaces } from '../support/rig/namespaces.ts'

const [, , folder = ''] = process.argv
const network = new Namespaces(['a'], folder, 1)
const { file, args } = network.command('a', ['sleep', '1000'])
const child = spawn(file, args, { stdio: 'ignore', detached: true })
process.stdout.write(`${child.pid}\n`)
process.stdin.resume()
