/** Nodes after a promotion that left some of them with records that the new history lacks. */
import {
  readNodeState,
  writeNodeState,
  type NodeOptions,
  type NodeState,
  type UnderstudyNode,
} from '@understudy/node'
import { nodeFiles } from '@understudy/log'
import { TcpCluster, caughtUp } from './tcp-cluster.ts'

const SCHEMA = `
  create table item (name text primary key not null, n integer);
  create table auto (id integer primary key autoincrement, body text);
  create table log (what text primary key not null);
  create trigger logged after insert on auto begin insert into log (what) values (new.body); end;
  insert into item values ('kept', 1), ('changed', 1), ('deleted', 1); insert into auto (body) values ('first')`

export const put = (node: UnderstudyNode, name: string, n: number): ReturnType<UnderstudyNode['write']> =>
  node.write([{ sql: 'insert into item (name, n) values (?, ?)', params: [name, n] }])

/** A person decides that this follower leads: what a promotion does to its directory. */
export function promote(cluster: TcpCluster, name: string): void {
  const files = nodeFiles()
  const directory = cluster.directory(name)
  writeNodeState(files, directory, { ...(readNodeState(files, directory) as NodeState), led: true })
}

/**
 * `a` leads, `b` stays behind and is promoted, `c` has all that `a` has. Resolves with the new leader; `a` and `c` are down.
 */
export async function parted(
  lost: (leader: UnderstudyNode) => Promise<unknown>,
  options: Partial<NodeOptions> = {},
): Promise<{ cluster: TcpCluster; leader: UnderstudyNode }> {
  const cluster = new TcpCluster()
  const a = await cluster.leader(options)
  await a.write((tx) => tx.exec(SCHEMA))
  const b = await cluster.follower('b', options)
  const c = await cluster.follower('c', options)
  await caughtUp(a, b, c)
  await b.close()
  await lost(a)
  await caughtUp(a, c)
  await c.close()
  await a.close()
  promote(cluster, 'b')
  const leader = await cluster.start('b', { role: 'leader', listen: 'tcp://127.0.0.1:0', ...options })
  await put(leader, 'new', 7)
  return { cluster, leader }
}
