import { expect, test } from 'vitest'
import pc from 'picocolors'
import { printable, table } from '../src/output.ts'

test('text of others cannot move the cursor, ring the bell or rename the window', () => {
  const { green } = pc.createColors(true)
  const hostile = 'a\u001b[2Jb\u0007c\u001b]0;title\u0007d\re\u009b5mf\u007f'
  expect(printable(hostile)).toBe('a\ufffd[2Jb\ufffdc\ufffd]0;title\ufffdd\ufffde\ufffd5mf\ufffd')
  expect(printable(`${green('ok')}\tone\ntwo`)).toBe(`${green('ok')}\tone\ntwo`)
  expect(printable(table(['node'], [['x\u001b[1A']]))).not.toContain('\u001b[1A')
})
