/** The load of callers that live in the leader's process, as those of a program that embeds the node. */
import type { UnderstudyNode } from '@understudy/node'
import type { WriteTransaction, ReadTransaction } from '@understudy/contracts'
import type { Connections } from '../subjects/subject.ts'
import type { Statement, Step } from '../workloads/workload.ts'

export class EmbeddedConnections implements Connections {
  readonly #node: UnderstudyNode

  constructor(node: UnderstudyNode) {
    this.#node = node
  }

  /** The LSN of a write. */
  run(step: Step): Promise<number | undefined> {
    if (step.kind === 'read') {
      const { statement } = step
      return this.#node.read((tx) => query(tx, statement))
    }
    const { statements } = step
    return this.#node
      .write((tx) => {
        for (const statement of statements) execute(tx, statement)
      })
      .then(({ receipt }) => receipt.position.lsn)
  }

  /** The node is closed by its process. */
  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve()
  }
}

function query(tx: ReadTransaction, { sql, params = [] }: Statement): undefined {
  tx.all(sql, params)
}

function execute(tx: WriteTransaction, statement: Statement): void {
  const { sql, params = [], many, returns = false } = statement
  if (returns) query(tx, statement)
  else if (many === undefined) tx.run(sql, params)
  else for (const each of many) tx.run(sql, each)
}
