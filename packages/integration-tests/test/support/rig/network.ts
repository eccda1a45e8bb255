/** A network between places of one test, which can be cut, slowed and made to lose, one direction at a time. */

export interface FaultNetwork extends AsyncDisposable {
  readonly kind: 'namespaces' | 'proxies'
  /** What this machine, or this kind of network, can do besides cutting. */
  readonly can: { readonly delay: boolean; readonly lose: boolean }
  readonly places: readonly string[]
  /** Where the node at `place` is to listen. */
  listenAddress(place: string): string
  /** Where it says that it listens. */
  listens(place: string, address: string): void
  /** What a process at `from` dials to reach the node at `to`. */
  address(from: string, to: string): string
  /** What the test itself dials; no fault is ever in that way. */
  control(place: string): Promise<string>
  /** How a program is run at `place`. */
  command(
    place: string,
    program: readonly string[],
  ): { readonly file: string; readonly args: readonly string[] }
  /** Nothing that `from` sends arrives at `to`, and nobody is told. The other direction stays as it is. */
  cut(from: string, to: string): void
  /** What `from` sends takes so long. Throws where `can.delay` is false. */
  delay(from: string, delayMs: number): void
  /** Of what `from` sends to `to`, so many of a hundred packets are lost. Throws where `can.lose` is false. */
  lose(from: string, to: string, percent: number): void
  /** Ends cuts of this direction. */
  heal(from: string, to: string): void
  healAll(): void
}

/** All pairs, once each way. */
export function pairsOf(places: readonly string[]): [string, string][] {
  return places.flatMap((from) =>
    places.filter((to) => to !== from).map((to): [string, string] => [from, to]),
  )
}
