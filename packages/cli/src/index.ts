/** The understudy command, for programs that want to run it in their own process. */
export { runCommandLine } from './program.ts'
export type { Output } from './output.ts'
