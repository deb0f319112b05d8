import { limits } from "../../platform/limits.js";

/** Puts `value` at `key`. Above `max` keys, by default one for each MCP that a router knows, that one goes which was put longest ago. */
export function keep<T>(kept: Map<string, T>, key: string, value: T, max: number = limits.routedMcpMax): void {
  kept.delete(key); // so that the newest are last
  kept.set(key, value);
  if (kept.size <= max) return;
  const oldest = kept.keys().next();
  if (oldest.done !== true) kept.delete(oldest.value);
}
