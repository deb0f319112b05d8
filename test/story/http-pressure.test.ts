import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { limits } from "../../src/platform/limits.js";
import { StoreFault } from "../../src/store/store.js";
import { noonMs } from "../support/draft.js";
import { type GatedApi, openGatedApi } from "../support/gated-api.js";
import { ApiCaller } from "../support/http-api.js";

let gated: GatedApi;
let api: ApiCaller;
beforeEach(async () => {
  gated = await openGatedApi();
  api = await ApiCaller.open(gated.url);
});
afterEach(() => gated?.[Symbol.asyncDispose]());

const reports = "/api/v2/interactions";
const startOf = (interaction_id: string) => ({ action: "start", mcp_id: "ocr", interaction_id, timestamp: noonMs / 1_000 });
const post = (body: unknown) => api.ask(reports, { body });
const stats = async () => (await api.ask("/api/v2/interactions/stats")).body.stats;
const calls = (count: number) => expect.poll(() => gated.store.calls.length).toBe(count);
const received = (count: number) => expect.poll(() => gated.http.figures().received).toBe(count);

describe("an answer to a report", () => {
  it("comes after the commit and not before", async () => {
    let isAnswered = false;
    const answer = post(startOf("a")).then((said) => {
      isAnswered = true;
      return said;
    });
    await calls(1);
    expect([isAnswered, gated.http.figures().depth, gated.http.figures().resolved]).toEqual([false, 1, 0]);
    await gated.clock.advance(250);
    expect(gated.http.figures().lagMs).toBe(250);
    await gated.store.last.resolve();
    expect((await answer).body).toMatchObject({ status: "accepted", performance: { duration_ms: 250 } });
    expect(gated.http.figures()).toMatchObject({ depth: 0, lagMs: 0, received: 1, resolved: 1, refused: 0 });
  });

  it("is 503 with a delay when the commit takes too long, and the same bytes may come again", async () => {
    const answer = post(startOf("a"));
    await calls(1);
    await gated.clock.advance(limits.reportDeadlineMs);
    const said = await answer;
    expect([said.status, said.headers.get("retry-after"), said.body.data]).toMatchObject([
      503,
      "2",
      { status: "refused", verdict: "unavailable", error: { reason: "STORE_UNAVAILABLE", retryable: true } },
    ]);
    const again = post(startOf("a"));
    await gated.store.last.resolve();
    await calls(2);
    await gated.store.last.resolve([{ kind: "duplicate", storedAtMs: 1 }]);
    expect((await again).body.data.verdict).toBe("duplicate");
  });

  it("is 503 once the queue is full, which counts once, and those in the queue are stored", async () => {
    const batch = (name: string) => Array.from({ length: limits.httpBatchMaxEvents }, (_, i) => startOf(`${name}-${i}`));
    const rounds = limits.pendingMaxEvents / limits.httpBatchMaxEvents;
    const waiting = Array.from({ length: rounds }, (_, round) => post(batch(`b${round}`)));
    await received(limits.pendingMaxEvents);
    await calls(1);
    const said = await post(startOf("one too many"));
    expect([said.status, said.headers.get("retry-after"), said.body.detail]).toEqual([503, "2", "Service temporarily unavailable"]);
    expect(said.body.queue_position).toBe(limits.pendingMaxEvents);
    expect((await post([startOf("x"), startOf("y")])).status).toBe(503);
    expect(await stats()).toMatchObject({ requests_failed: 3, requests_processed: 0, queue_size: limits.pendingMaxEvents });
    let isDone = false;
    const answers = Promise.all(waiting).finally(() => {
      isDone = true;
    });
    for (let answered = 0; !isDone; ) {
      for (; answered < gated.store.calls.length; answered += 1) await gated.store.calls[answered]?.resolve();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect((await answers).map(({ status }) => status)).toEqual([200, 200]);
    expect(await stats()).toMatchObject({ requests_received: 20_003, requests_processed: 20_000, requests_failed: 3, queue_size: 0 });
  });

  it("tells of the event that the store cannot hold, and stores its neighbour", async () => {
    const answer = post([startOf("poison"), startOf("good")]);
    await calls(1);
    const isPoisoned = () => gated.store.last.events.some(({ interactionId }) => interactionId === "poison");
    await gated.store.last.reject(new StoreFault("poison", "22P05", "untranslatable character"));
    await calls(2);
    expect(isPoisoned()).toBe(true);
    await gated.store.last.reject(new StoreFault("poison", "22P05", "untranslatable character"));
    await calls(3);
    await gated.store.last.resolve();
    expect((await answer).body.data).toMatchObject({
      results: [{ verdict: "invalid", error: { fields: [{ reason: "UNREPRESENTABLE" }] } }, { verdict: "stored" }],
    });
    expect(gated.store.buried).toHaveLength(1);
  });

  it("hides what a bug of ours says", async () => {
    const said = await api.ask("/api/v2/performance/metrics");
    expect([said.status, said.body.detail, said.body.data]).toMatchObject([
      500,
      "Internal server error",
      { error: { reason: "INTERNAL" } },
    ]);
  });
});

describe("a caller", () => {
  it("that goes away takes nothing with it: the event is stored, and nothing waits for it", async () => {
    const leaving = new AbortController();
    const answer = fetch(gated.url + reports, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(startOf("a")),
      signal: leaving.signal,
    }).catch((thrown: unknown) => thrown);
    await calls(1);
    leaving.abort();
    await answer;
    await expect.poll(() => gated.http.figures().depth).toBe(0);
    await gated.store.last.resolve();
    expect((await stats()).queue_size).toBe(0);
    expect(gated.store.calls[0]?.events.map(({ interactionId }) => interactionId)).toEqual(["a"]);
  });

  it("that never ends its body keeps nobody waiting, and counts as one refused report when it goes", async () => {
    const slow = connect(gated.port, "127.0.0.1");
    slow.write(`POST ${reports} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"action":`);
    await once(slow, "connect");
    expect((await api.ask("/api/v2/health")).status).toBe(200);
    expect(gated.http.figures().received).toBe(0);
    slow.destroy();
    await received(1);
    expect(gated.http.figures()).toMatchObject({ refused: 1, depth: 0 });
  });

  it("that declares more than is read hears so before it sends it", async () => {
    const socket = connect(gated.port, "127.0.0.1");
    socket.write(`POST ${reports} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n\r\n[`);
    let heard = "";
    socket.on("data", (chunk) => {
      heard += chunk;
    });
    await expect.poll(() => heard).toMatch(/^HTTP\/1\.1 413 .*MESSAGE_TOO_LARGE/s);
    socket.destroy();
  });
});

describe("the end", () => {
  it("waits for reports under way, and refuses new ones with a delay", async () => {
    const underWay = post(startOf("a"));
    await calls(1);
    const drained = gated.http.drain(60_000);
    const late = await post(startOf("b"));
    expect([late.status, late.headers.get("retry-after"), late.body.data]).toMatchObject([
      503,
      "1",
      { error: { reason: "COORDINATOR_DRAINING" } },
    ]);
    await gated.store.last.resolve();
    expect((await underWay).status).toBe(200);
    await drained;
    expect(gated.clock.timerCount).toBe(0);
  });

  it("comes when the grace is over, whatever is under way", async () => {
    const underWay = post(startOf("a"));
    await calls(1);
    const drained = gated.http.drain(1_000);
    await gated.clock.advance(1_000);
    await drained;
    await gated.store.last.resolve();
    expect((await underWay).status).toBe(200);
  });
});
