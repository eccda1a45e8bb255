/** The process of clients that a node let in: each asks for its status once, and nothing more. */
import { connect, type Client } from '@understudy/client'
import { dialAccess, type Wire } from '../wire.ts'
import { cpuSeconds } from './processor-time.ts'
import { serve } from './serve.ts'

/** Connections that are being made at once. */
const CONNECTING_MAX = 16

interface State {
  clients: Client[]
}

const state: State = { clients: [] }

const calls = {
  /** Connects so many, and asks each once. */
  async connect({
    address,
    wire,
    count,
  }: {
    readonly address: string
    readonly wire: Wire
    readonly count: number
  }): Promise<void> {
    const access = await dialAccess(wire, 'client')
    let begun = 0
    const lane = async (): Promise<void> => {
      while (begun < count) {
        const client = await connect({ ...access, address, name: `client-${begun++}` })
        state.clients.push(client)
        await client.status()
      }
    }
    await Promise.all(Array.from({ length: Math.min(CONNECTING_MAX, count) }, lane))
  },

  /** Processor time of this process so far. */
  cpuSeconds(): number {
    return cpuSeconds()
  },

  /** Asks every one again: those that are still served answer. How many are. */
  async answering(): Promise<number> {
    const answers = await Promise.allSettled(state.clients.map((client) => client.status()))
    return answers.filter(({ status }) => status === 'fulfilled').length
  },

  async disconnect(): Promise<void> {
    await Promise.all(state.clients.map((client) => client.close()))
    state.clients = []
  },

  async close(): Promise<void> {
    await calls.disconnect()
  },
} as const

export type ClientsCalls = typeof calls

serve(calls)
