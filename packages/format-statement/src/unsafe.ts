/** The errors for statements that are not run. */
import { UnderstudyError } from '@understudy/contracts'
import { SAFETY_REASONS, type SafetyReason } from './reasons.ts'

export function unsafe(reasons: readonly SafetyReason[], verb: string): UnderstudyError {
  return new UnderstudyError(
    'STATEMENT_UNSAFE',
    `The ${verb.toUpperCase()} could do something else on a follower than here: ${sentences(reasons)} It was not run, and ` +
      'the write may go on without it. Rewrite it (give it an ORDER BY over a unique key, or values as parameters), declare ' +
      'its functions to statementFormat({ functions }), or let such writes be logged as rows: ' +
      "statementFormat({ unsafe: 'row', row: rowFormat() }).",
    { reasons: reasons.map(({ code }) => code), details: reasons },
  )
}

export function unsupported(reasons: readonly SafetyReason[]): UnderstudyError {
  return new UnderstudyError(
    'STATEMENT_UNSUPPORTED',
    `A statement has an effect that no record can carry to the other nodes: ${sentences(reasons)} It was not run, and the ` +
      'write may go on without it. Settings belong into setup(), alike on every node.',
    { reasons: reasons.map(({ code }) => code), details: reasons },
  )
}

function sentences(reasons: readonly SafetyReason[]): string {
  return reasons.map(({ code, detail }) => `${SAFETY_REASONS[code]} (${code}: ${detail})`).join(' ')
}
