/** The real clock, because SQLite's own is real, too. */

/** Waits until the wall clock shows another second, which is what SQL's clock without fractions counts in. */
export async function nextSecond(): Promise<void> {
  const leftMs = 1000 - (Date.now() % 1000)
  await new Promise<void>((resolve) => {
    setTimeout(resolve, leftMs + 1)
  })
}
