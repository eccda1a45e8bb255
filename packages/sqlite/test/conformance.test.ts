import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { SqliteConnection, WriteTransaction } from '@understudy/contracts'
import { storageSuite, type StorageUnderTest } from '@understudy/testkit/suites/storage'
import { openStorage } from '../src/index.ts'
import { copyElsewhere, elsewhere } from './helpers.ts'

const SCHEMA = `create table if not exists map (key text primary key, value text);
  create table if not exists child (id integer primary key, map text references map deferrable initially deferred)`

function under(folder: string): StorageUnderTest<SqliteConnection, WriteTransaction> {
  const path = join(folder, 'data.db')
  const storage = openStorage({ path })
  storage.connection.internal(() => storage.connection.database.exec(SCHEMA))
  const outside = new DatabaseSync(path, { readOnly: true })
  const next = (): string => mkdtempSync(join(tmpdir(), 'understudy-sqlite-'))
  return {
    storage,
    put: (tx, key, value) =>
      void tx.run('insert into map values (?, ?) on conflict (key) do update set value = excluded.value', [
        key,
        value,
      ]),
    get: (tx, key) => tx.get('select value from map where key = ?', [key])?.['value'] as string | undefined,
    read: (key) =>
      outside.prepare('select value from map where key = ?').get(key)?.['value'] as string | undefined,
    loseTransaction: (tx) => {
      tx.run("insert or replace into map values ('there', 'is one')")
      tx.run("insert or rollback into map values ('there', 'is one')")
    },
    violateDeferred: (tx) => void tx.run("insert into child (map) values ('nowhere')"),
    foreignWrite: () => void elsewhere(path, "insert into map values ('foreign', 'write')"),
    crash: () => {
      const survivor = next()
      for (const suffix of ['', '-wal']) copyElsewhere(path + suffix, join(survivor, `data.db${suffix}`))
      return Promise.resolve(under(survivor))
    },
    openImage: (image) => {
      const copy = next()
      writeFileSync(join(copy, 'data.db'), image)
      return Promise.resolve(under(copy))
    },
    dispose: async () => {
      if (outside.isOpen) outside.close()
      await storage.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

storageSuite({
  name: 'sqlite',
  create: () => Promise.resolve(under(mkdtempSync(join(tmpdir(), 'understudy-sqlite-')))),
})
