import type { Cancel, Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { Logger } from "../platform/log.js";
import type { McpConfigAck, RegistryStore } from "../store/registry-rows.js";
import { StoreFault } from "../store/store.js";

export type ConfigAckDeps = {
  readonly record: RegistryStore["recordMcpConfigAcks"];
  readonly clock: Clock;
  readonly log: Logger;
};

/**
 * Writes down who runs which configuration, at most once in `limits.routingAckFlushMs`. Of each producer only the newest answer waits; above
 * `limits.mcpConfigAckBufferMax` the oldest is dropped, and while the store fails all of them wait and it is tried again: they are worth less than any event.
 */
export class ConfigAckLog {
  readonly #deps: ConfigAckDeps;
  #waiting = new Map<string, McpConfigAck>();
  #cancelFlush: Cancel | undefined;
  #flushing: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(deps: ConfigAckDeps) {
    this.#deps = deps;
  }

  add(ack: McpConfigAck): void {
    this.#keep(ack);
    this.#schedule();
  }

  /** Writes what waits. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelFlush?.();
    await this.#flushing;
    await this.#flush();
  }

  #schedule(): void {
    if (this.#isClosed) return;
    this.#cancelFlush ??= this.#deps.clock.after(limits.routingAckFlushMs, () => {
      this.#cancelFlush = undefined;
      this.#flushing = this.#flush();
    });
  }

  #keep(ack: McpConfigAck): void {
    const name = `${ack.mcpId}\0${ack.producerId}`;
    this.#waiting.delete(name); // so that the newest are last
    this.#waiting.set(name, ack);
    if (this.#waiting.size <= limits.mcpConfigAckBufferMax) return;
    for (const oldest of this.#waiting.keys()) {
      this.#waiting.delete(oldest);
      return;
    }
  }

  /** Never rejects: the loop's edge. */
  async #flush(): Promise<void> {
    const acks = [...this.#waiting.values()];
    this.#waiting = new Map();
    if (acks.length === 0) return;
    try {
      await this.#deps.record(acks);
    } catch (thrown) {
      if (!(thrown instanceof StoreFault)) this.#deps.log.error({ err: thrown }, "answers about configurations could not be stored");
      // Older than what came meanwhile.
      const newer = [...this.#waiting.values()];
      this.#waiting = new Map();
      for (const ack of [...acks, ...newer]) this.#keep(ack);
      this.#schedule();
    }
  }
}
