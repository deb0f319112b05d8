/**
 * What operators say a request costs, by MCP. An MCP without a price counts as the mean of those that have one: what is not known is not free.
 * Bound: MCPs of which an operator says something, and those that the router routes to.
 */
export class Prices {
  readonly #byMcp = new Map<string, number>();
  #mean: number | undefined;

  set(mcpId: string, price: number | undefined): void {
    if (this.#byMcp.get(mcpId) === price) return;
    if (price === undefined) this.#byMcp.delete(mcpId);
    else this.#byMcp.set(mcpId, price);
    let sum = 0;
    for (const one of this.#byMcp.values()) sum += one;
    this.#mean = this.#byMcp.size === 0 ? undefined : sum / this.#byMcp.size;
  }

  /** Undefined while nobody has a price. */
  of(mcpId: string): number | undefined {
    return this.#mean === undefined ? undefined : (this.#byMcp.get(mcpId) ?? this.#mean);
  }
}
