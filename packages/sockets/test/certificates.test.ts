import { chmodSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { certificates, type TlsOptions } from '../src/index.ts'
import { certificateFiles, certificateTexts, ManualClock, pem } from './fixtures.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certificates-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const load = (tls: TlsOptions, clock = new ManualClock()): ReturnType<typeof certificates> =>
  certificates(tls, { clock })

const refused = (message: string, code = 'TLS_FAILED'): Error =>
  expect.objectContaining({ code, message: expect.stringContaining(message) as string }) as Error

describe('at the start', () => {
  test('files and texts are taken', () => {
    for (const tls of [certificateFiles(folder, 'server'), certificateTexts('server')]) {
      const loaded = load(tls)
      expect(loaded.status()).toEqual({
        identities: ['DNS:localhost', 'IP:127.0.0.1', 'IP:::1', 'URI:understudy://leader', 'CN:leader'],
        expiresAt: Date.UTC(2120, 0, 1),
      })
      expect(loaded.options).toMatchObject({ minVersion: 'TLSv1.2', maxVersion: 'TLSv1.3' })
    }
  })

  test('authorities alone are enough for a dialler', () => {
    expect(load({ ca: pem('ca') }).status()).toBeUndefined()
    expect(load({}).status()).toBeUndefined()
  })

  test('a key that others may open is refused, whichever file holds it', () => {
    const files = certificateFiles(folder, 'server')
    for (const mode of [0o640, 0o604, 0o620]) {
      chmodSync(files.key.file, mode)
      expect(() => load(files)).toThrow(refused(`mode ${mode.toString(8)}`))
    }
    const both = { file: join(folder, 'both.pem') }
    writeFileSync(both.file, pem('server') + pem('server.key'), { mode: 0o644 })
    expect(() => load({ cert: both, key: both })).toThrow(refused('chmod 600'))
    chmodSync(both.file, 0o400)
    expect(load({ cert: both, key: both }).status()?.identities).toContain('CN:leader')
  })

  test('a key of another certificate is refused with both names', () => {
    const files = certificateFiles(folder, 'server')
    expect(() => load({ ...files, key: pem('client.key') })).toThrow(
      refused(`tls.key is not the key of tls.cert ("${files.cert.file}")`),
    )
  })

  test('a certificate is refused before and after its time', () => {
    expect(() => load(certificateTexts('expired'))).toThrow(refused('expired on 2021-01-01'))
    const early = new ManualClock(Date.UTC(2019, 0, 1))
    expect(() => load(certificateTexts('server'), early)).toThrow(refused('not valid before 2020-01-01'))
    const late = new ManualClock(Date.UTC(2120, 0, 2))
    expect(() => load({ ca: pem('ca') }, late)).toThrow(refused('only authorities that have expired'))
  })

  test.each([
    ['a missing file', { ca: { file: '/nowhere/ca.pem' } }, 'ENOENT'],
    ['a folder', { ca: { file: '/' } }, 'no file'],
    ['a path as a text', { ca: '/etc/ca.pem' }, 'give { file:'],
    ['a key as authority', { ca: pem('server.key') }, 'holds no certificate'],
    ['damaged bytes', { ca: pem('ca').replace('MII', 'AAA') }, 'cannot be read'],
    ['a certificate as key', { cert: pem('server'), key: pem('server') }, 'no private key'],
  ])('%s is refused', (_, tls, message) => {
    expect(() => load(tls)).toThrow(refused(message))
  })

  test('options that do not go together are INVALID_ARGUMENT', () => {
    expect(() => load({ cert: pem('server') })).toThrow(refused('belong together', 'INVALID_ARGUMENT'))
    const { cert, key } = certificateTexts('server')
    expect(() => load({ cert, key, clientCertificates: 'require' })).toThrow(
      refused('tls.ca', 'INVALID_ARGUMENT'),
    )
  })

  test('what is said of a key has nothing of it', () => {
    const { cert } = certificateTexts('server')
    const key = '-----BEGIN PRIVATE KEY-----\nc2VjcmV0c2VjcmV0\n-----END PRIVATE KEY-----'
    let error: unknown
    try {
      load({ cert, key })
    } catch (thrown) {
      error = thrown
    }
    expect(error).toMatchObject({ code: 'TLS_FAILED' })
    expect((error as Error).cause).toBeUndefined()
    expect(JSON.stringify(error) + String(error)).not.toContain('c2Vj')
  })
})

describe('later', () => {
  test('files that changed are taken at the next look', () => {
    const clock = new ManualClock()
    const loaded = load({ ...certificateFiles(folder, 'server'), reloadMs: 5000 }, clock)
    let changes = 0
    const stop = loaded.onChange(() => changes++)
    const before = loaded.options
    clock.advance(5000)
    expect(changes).toBe(0)
    expect(loaded.options).toBe(before)
    certificateFiles(folder, 'renewed')
    clock.advance(5000)
    expect(changes).toBe(1)
    expect(loaded.options.cert).toBe(pem('renewed'))
    expect(loaded.status()?.identities).toContain('URI:understudy://renewed')
    stop()
    expect(clock.pending).toBe(0)
  })

  test('a change that keeps size and time is seen', () => {
    const files = certificateFiles(folder, 'server')
    utimesSync(files.cert.file, 2000, 2000)
    const loaded = load(files)
    expect(loaded.reload()).toBe(false)
    writeFileSync(files.cert.file, pem('server').replace(/\n$/, ' '))
    utimesSync(files.cert.file, 2000, 2000)
    expect(loaded.reload()).toBe(true)
  })

  test('half of a change leaves the old ones in use and says why, until the other half is there', () => {
    const clock = new ManualClock()
    const files = certificateFiles(folder, 'server')
    const loaded = load({ ...files, reloadMs: 5000 }, clock)
    let changes = 0
    loaded.onChange(() => changes++)
    const before = loaded.options
    writeFileSync(files.cert.file, pem('renewed'))
    clock.advance(5000)
    expect(loaded.options).toBe(before)
    expect(loaded.status()).toMatchObject({
      identities: expect.arrayContaining(['CN:leader']) as string[],
      problem: expect.stringContaining('is not the key of') as string,
    })
    writeFileSync(files.key.file, pem('renewed.key'))
    clock.advance(5000)
    expect(changes).toBe(1)
    expect(loaded.status()).not.toHaveProperty('problem')
    loaded.close()
    expect(clock.pending).toBe(0)
  })

  test.each([
    [
      'expired',
      (files: { cert: { file: string } }) => writeFileSync(files.cert.file, pem('expired')),
      'expired on',
    ],
    ['gone', (files: { key: { file: string } }) => rmSync(files.key.file), 'ENOENT'],
    ['open to others', (files: { key: { file: string } }) => chmodSync(files.key.file, 0o644), 'chmod 600'],
    [
      'half written',
      (files: { ca: { file: string } }) => writeFileSync(files.ca.file, pem('ca').slice(0, 90)),
      'no certificate',
    ],
  ])('files that are %s are not taken', (_, change, problem) => {
    const files = certificateFiles(folder, 'server')
    const loaded = load(files)
    const before = loaded.context
    change(files)
    expect(loaded.reload()).toBe(false)
    expect(loaded.context).toBe(before)
    expect(loaded.status()?.problem).toContain(problem)
    certificateFiles(folder, 'server')
    chmodSync(files.key.file, 0o600)
    expect(loaded.reload()).toBe(false)
    expect(loaded.status()).not.toHaveProperty('problem')
  })

  test('whoever only dials looks when the last look is long ago', () => {
    const clock = new ManualClock()
    const loaded = load({ ...certificateFiles(folder, 'server'), reloadMs: 5000 }, clock)
    certificateFiles(folder, 'renewed')
    loaded.refresh()
    expect(loaded.options.cert).toBe(pem('server'))
    expect(clock.pending).toBe(0)
    clock.advance(5000)
    loaded.refresh()
    expect(loaded.options.cert).toBe(pem('renewed'))
  })

  test('texts cannot change, so no timer waits for it', () => {
    const clock = new ManualClock()
    load(certificateTexts('server'), clock).onChange(() => {})
    expect(clock.pending).toBe(0)
  })
})
