import { describe, expect, test } from "vitest";
import { limits } from "../../../src/platform/limits.js";
import { createConnections } from "../../../src/smart-router/connections.js";

const stateOf = (connections: ReturnType<typeof createConnections>, mcpId: string, nowMs: number) =>
  connections.read(nowMs).get(mcpId)?.state;

describe("what sessions tell of standing", () => {
  test("an MCP whose last session is lost is disconnected at once, and gone ten minutes later", () => {
    const connections = createConnections(10);
    connections.joined("a", "s1");
    connections.joined("a", "s2");
    connections.left("a", "s1", "lost", 1_000);
    expect(stateOf(connections, "a", 1_000)).toBe("healthy");
    connections.left("a", "s2", "lost", 2_000);
    expect(stateOf(connections, "a", 2_000)).toBe("disconnected");
    expect(stateOf(connections, "a", 2_000 + limits.goneAfterMs)).toBe("gone");
    expect(stateOf(connections, "a", 2_000 + 2 * limits.goneAfterMs)).toBe("gone");
    expect(stateOf(connections, "a", 3_000 + 2 * limits.goneAfterMs)).toBeUndefined();
  });

  test("one that leaves in good order has time to come back, and one that came back is as before", () => {
    const connections = createConnections(10);
    connections.joined("a", "s1");
    connections.left("a", "s1", "orderly", 0);
    expect(stateOf(connections, "a", limits.returnMaxMs - 1)).toBe("healthy");
    expect(stateOf(connections, "a", limits.returnMaxMs)).toBe("disconnected");
    connections.joined("a", "s2");
    expect(stateOf(connections, "a", limits.returnMaxMs + 1)).toBe("healthy");
  });

  test("the end of a session that was not the last, or is not known, is no news; strangers are not remembered without bound", () => {
    const connections = createConnections(10);
    connections.left("never", "s", "lost", 0);
    expect(stateOf(connections, "never", 0)).toBeUndefined();
    for (let index = 0; index <= limits.routedMcpMax; index += 1) {
      connections.joined(`mcp-${index}`, "s");
      connections.left(`mcp-${index}`, "s", "lost", 0);
    }
    expect(connections.read(0).size).toBe(limits.routedMcpMax);
  });
});
