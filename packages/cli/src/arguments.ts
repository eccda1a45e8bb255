/** Numbers and lists on the command line; a wrong one is a mistake in the command line itself, not a failure of the command. */
import { InvalidArgumentError } from 'commander'

/** A whole number from 0. */
export function whole(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < 0)
    throw new InvalidArgumentError('give a whole number.')
  return value
}

/** A whole number from 1. */
export function positive(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value) || value <= 0)
    throw new InvalidArgumentError('give a positive whole number.')
  return value
}

/** Names by commas; an option that is given again adds to them. */
export function names(list: string, before: readonly string[] = []): string[] {
  return [...before, ...list.split(',').map((name) => name.trim())]
}
