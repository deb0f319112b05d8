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
 * `limits.mcpConfigAckBufferMax` the oldest is dropped, and while the store fails all of them wait: they are worth less than any event. One that the store
 * will never take is dropped by itself.
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
      this.#flushing = this.#flushing.then(() => this.#flush());
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

  /** Never rejects. What could not be written comes again. */
  async #flush(): Promise<void> {
    const acks = [...this.#waiting.values()];
    this.#waiting = new Map();
    const unwritten = await this.#write(acks);
    if (unwritten.length === 0) return;
    // Older than what came meanwhile.
    const newer = [...this.#waiting.values()];
    this.#waiting = new Map();
    for (const ack of [...unwritten, ...newer]) this.#keep(ack);
    this.#schedule();
  }

  /** Gives those that are to be written again. A batch that the store will never take is halved until the answer that it refuses stands alone. */
  async #write(acks: readonly McpConfigAck[]): Promise<readonly McpConfigAck[]> {
    const [first, second] = acks;
    if (first === undefined) return [];
    try {
      await this.#deps.record(acks);
      return [];
    } catch (thrown) {
      // The loop's edge.
      if (!(thrown instanceof StoreFault)) this.#deps.log.error({ err: thrown }, "answers about configurations could not be stored");
      if (!(thrown instanceof StoreFault) || thrown.kind !== "poison") return acks;
      if (second === undefined) {
        const { mcpId, producerId } = first;
        this.#deps.log.warn(
          { mcpId, producerId, code: thrown.code },
          "the store refused an answer about a configuration: it is not recorded",
        );
        return [];
      }
      const middle = Math.ceil(acks.length / 2);
      return [...(await this.#write(acks.slice(0, middle))), ...(await this.#write(acks.slice(middle)))];
    }
  }
}
