/** What a node says as JSON: errors as code and message, large integers as decimal text. */
import { isUnderstudyError } from '@understudy/contracts'

export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, field: unknown) => {
    if (typeof field === 'bigint') return String(field)
    if (isUnderstudyError(field)) return { code: field.code, message: field.message }
    return field instanceof Error ? { message: field.message } : field
  })
}
