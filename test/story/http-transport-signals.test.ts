import { expect, test, vi } from "vitest";
import { createHttpTransport } from "../../src/client/transports/http.js";
import { systemClock } from "../../src/platform/clock.js";

test("no request is tied to a signal that lives as long as the transport: Node 20 keeps a trace of each such request for ever", async () => {
  const tied = vi.spyOn(AbortSignal, "any");
  const options = { url: "http://127.0.0.1:9", key: undefined, mcpId: "ocr", requestsPerSecond: 10, maxRetries: 1, clock: systemClock };
  const transport = createHttpTransport(options, { onSettled: () => undefined, onChange: () => undefined });
  await transport.probe();
  expect(transport.health().state).toBe("down");
  expect(tied).not.toHaveBeenCalled();
  await transport.stop(0);
});
