/** Stops on a bug of ours: `condition` must hold whatever a peer sends. Never use it to judge input. */
export function assert(condition: boolean, claim: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${claim}`);
}

/** Ends a `switch` over a union: a missing case does not compile, and an impossible value stops. */
export function unreachable(value: never): never {
  throw new Error(`unreachable case: ${JSON.stringify(value)}`);
}
