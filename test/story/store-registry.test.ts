import { describe, expect } from "vitest";
import type { McpConfig } from "../../src/interaction/mcp-config.js";
import { storeKinds } from "../support/open-store.js";
import { tellStories } from "../support/store-stories.js";

const config: McpConfig = {
  heartbeatInterval: 30,
  dataReportInterval: 60,
  priority: 1,
  weight: 100,
  maxConcurrentRequests: 10,
  draining: false,
  collection: { progressSampleRatio: 1, dropFields: [] },
};

describe.each(storeKinds)("the registry of the $kind store", (each) => {
  const at = tellStories(each);
  /** A Hello of "guest" that came `agoMs` ago, when the registry was known up to `seenRevision`. */
  const greet = (seenRevision: number, agoMs: number) =>
    at.store.registerGreeted([{ mcpId: "guest", version: "", seenRevision, agoMs: () => agoMs }], {
      coordinatorId: "coordinator-of-test",
      config,
      maxCount: 10,
    });
  const standing = async () => {
    const changes = await at.store.readMcpChanges(-1);
    const guest = changes?.mcps.find(({ mcpId }) => mcpId === "guest");
    return { state: guest?.lease.state, revision: guest?.revision ?? 0 };
  };

  at.story(
    "takes a Hello for older than an end of the registration that was not known then, unless that end is older by its age",
    async () => {
      await greet(0, 0);
      const known = await standing();
      expect(known.state).toBe("alive");
      await at.store.deregisterMcp("guest", "end of shift");
      const ended = await standing();
      expect(ended).toEqual({ state: "deregistered", revision: known.revision + 1 });
      // An hour ago: before the end.
      await greet(known.revision, 3_600_000);
      expect(await standing()).toEqual(ended);
      // This moment, on a coordinator that has not heard of the end: after it.
      await greet(known.revision, 0);
      expect((await standing()).state).toBe("alive");
      // Where the end was known, the age does not matter.
      await at.store.deregisterMcp("guest", "end of shift");
      await greet((await standing()).revision, 3_600_000);
      expect((await standing()).state).toBe("alive");
    },
  );
});
