import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { openLedgerFile } from "../../src/client/ledger-file.js";
import { createStreamSession } from "../../src/client/stream-session.js";
import { encodeEvent } from "../../src/client/wire/frames.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import { type RunningCoordinator, runCli, startCoordinatorProcess } from "../support/coordinator.js";
import { makeEvent } from "../support/make-event.js";
import { findPostgres, type RunningPostgres, startPostgres } from "../support/postgres.js";

let dir = "";
let nextName = 0;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "mcpc-verify-story-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const freshFile = () => join(dir, `${++nextName}.jsonl`);

/** What a client reported in interactions of three events each, with the ledger it kept of it. */
async function reportAll(
  target: string,
  mcpId: string,
  count: number,
): Promise<{ readonly path: string; readonly eventIds: readonly string[] }> {
  const path = freshFile();
  using ledger = openLedgerFile(path);
  const session = createStreamSession({ endpoint: { target, key: undefined }, mcpId, onSettled: (settled) => ledger.settled(settled) });
  const eventIds = Array.from({ length: count }, () => mintUuidV7());
  eventIds.forEach((eventId, index) => {
    const { mcpId: _, ...event } = makeEvent({ eventId, interactionId: interactionOf(index), sessionId: `s-${index}` });
    ledger.sent(eventId, mcpId, event.interactionId ?? "", encodeEvent(event));
    expect(session.report(event)).toBe(eventId);
  });
  expect(await session.flush()).toBe(true);
  await session.close();
  return { path, eventIds };
}

const interactionOf = (index: number) => `i-${Math.floor(index / 3)}`;

async function verify(target: string, ...args: readonly string[]) {
  const { code, stdout, stderr } = await runCli(["verify", ...args, "--target", target, "--json"]);
  // Printed by the command; nothing when it could not check.
  return { code, stderr, report: stdout === "" ? undefined : (JSON.parse(stdout) as Readonly<Record<string, unknown>>) };
}

/** Lines that a client would write for an event that it sent. */
function sentLine(eventId: string, mcpId: string, interactionId: string, sessionId: string): string {
  const event = encodeEvent({ ...makeEvent({ eventId, interactionId, sessionId }), mcpId });
  return `${JSON.stringify({ sent: eventId, mcp: mcpId, interaction: interactionId, event: Buffer.from(event).toString("base64") })}\n`;
}
const ackedLine = (eventId: string, status: string) => `${JSON.stringify({ acked: eventId, status })}\n`;

describe.each([
  { kind: "embedded", isThere: true },
  { kind: "postgres", isThere: findPostgres().kind === "found" },
])("verify on the $kind store", ({ kind, isThere }) => {
  let server: RunningPostgres | undefined;
  let coordinator: RunningCoordinator;
  const story = isThere ? it : it.skip;
  beforeAll(async () => {
    if (!isThere) return;
    if (kind === "postgres") server = await startPostgres();
    coordinator = await startCoordinatorProcess(server === undefined ? {} : { databaseUrl: server.url });
  });
  afterAll(async () => {
    await coordinator?.stop();
    await server?.[Symbol.asyncDispose]();
  });

  story("a clean ledger of a client is all ok, by whole events and by ids alone", async () => {
    const { path } = await reportAll(coordinator.target, "clean", 1_300);
    const whole = await verify(coordinator.target, path);
    expect([whole.code, whole.stderr]).toEqual([0, ""]);
    expect(whole.report).toMatchObject({
      lines: 2_600,
      events: 1_300,
      ok: 1_300,
      lost: 0,
      unexpected: 0,
      duplicated: 0,
      differing: 0,
      undecided: 0,
      indeterminate: { total: 0 },
      interactions: 434,
      countsInteractions: true,
      findings: [],
    });
    const idsOnly = freshFile();
    writeFileSync(idsOnly, readFileSync(path, "utf8").replaceAll(/,"event":"[^"]*"/g, ""));
    const byId = await verify(coordinator.target, idsOnly);
    expect(byId.code).toBe(0);
    expect(byId.report).toMatchObject({ ok: 1_300, lost: 0, unexpected: 0 });
  });

  story("what replay wrote to its ledger is all ok, and for people a table says so", async () => {
    const trace = freshFile();
    const rows = Array.from({ length: 50 }, (_, index) => `2023-11-16 18:15:${String(10 + Math.floor(index / 5))}.0000000,100,20`);
    writeFileSync(trace, `TIMESTAMP,ContextTokens,GeneratedTokens\n${rows.join("\n")}\n`);
    const path = freshFile();
    const played = await runCli(["replay", "--trace", trace, "--speed", "100", "--ledger", path, "--target", coordinator.target, "--json"]);
    expect([played.code, played.stderr]).toEqual([0, ""]);
    const { sent } = JSON.parse(played.stdout) as { readonly sent: number };
    const { code, stdout, stderr } = await runCli(["verify", path, "--target", coordinator.target], { NO_COLOR: "1" });
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(new RegExp(`^ok +${sent} acknowledged, stored as sent$`, "m"));
    expect(stdout).toMatch(/^lost +0 /m);
  });

  story("names an acknowledged event that is not stored, and ends with 1", async () => {
    const { path } = await reportAll(coordinator.target, "lossy", 9);
    const lost = mintUuidV7();
    appendFileSync(path, sentLine(lost, "lossy", "i-0", "s") + ackedLine(lost, "STORED"));
    const { code, report, stderr } = await verify(coordinator.target, path);
    expect(code).toBe(1);
    expect(stderr).toContain("what is stored differs from the ledger");
    expect(report).toMatchObject({ ok: 9, lost: 1, findings: [{ kind: "lost", eventId: lost, where: `${path}:19`, mcpId: "lossy" }] });
  });

  story("tells an event that is stored with other content", async () => {
    const { path, eventIds } = await reportAll(coordinator.target, "changed", 9);
    const [first = "", ...rest] = eventIds;
    const altered = readFileSync(path, "utf8")
      .split("\n")
      .filter((line) => !line.includes(`"sent":"${first}"`))
      .join("\n");
    writeFileSync(path, altered + sentLine(first, "changed", "i-0", "never sent"));
    const { code, report } = await verify(coordinator.target, path);
    expect(code).toBe(1);
    expect(report).toMatchObject({
      ok: rest.length,
      differing: 1,
      lost: 0,
      unexpected: 0,
      findings: [{ kind: "differing", eventId: first }],
    });
  });

  story("calls what was never acknowledged indeterminate, stored or not, and does not blame anyone", async () => {
    const { path, eventIds } = await reportAll(coordinator.target, "cut", 9);
    const unacked = readFileSync(path, "utf8").replaceAll(new RegExp(`{"acked":"(${eventIds[0]}|${eventIds[4]})".*\n`, "g"), "");
    const neverSent = mintUuidV7();
    writeFileSync(path, unacked + sentLine(neverSent, "cut", "i-0", "s"));
    const { code, report } = await verify(coordinator.target, path);
    expect(code).toBe(0);
    expect(report).toMatchObject({ ok: 7, indeterminate: { total: 3, stored: 2, absent: 1 }, lost: 0, unexpected: 0 });
  });

  story("finds events that no ledger has, until the other client's ledger is given too", async () => {
    const { path, eventIds } = await reportAll(coordinator.target, "shared", 9);
    const [mine, other] = [freshFile(), freshFile()];
    const isOther = (line: string) => line.includes(eventIds[1] ?? "") || line.includes(eventIds[2] ?? "");
    const lines = readFileSync(path, "utf8").trimEnd().split("\n");
    writeFileSync(mine, `${lines.filter((line) => !isOther(line)).join("\n")}\n`);
    writeFileSync(other, `${lines.filter(isOther).join("\n")}\n`);
    const alone = await verify(coordinator.target, mine);
    expect(alone.code).toBe(1);
    expect(alone.report).toMatchObject({ ok: 7, unexpected: 2, findings: [{ kind: "unexpected", interactionId: "i-0" }] });
    const both = await verify(coordinator.target, mine, other);
    expect(both.code).toBe(0);
    expect(both.report).toMatchObject({ ok: 9, unexpected: 0 });
  });

  story("expects refused events not to be stored", async () => {
    const { path } = await reportAll(coordinator.target, "refusing", 3);
    const refused = mintUuidV7();
    appendFileSync(path, sentLine(refused, "refusing", "i-0", "x".repeat(300)) + ackedLine(refused, "INVALID"));
    const { code, report } = await verify(coordinator.target, path);
    expect(code).toBe(0);
    expect(report).toMatchObject({ ok: 3, refused: 1, unexpected: 0 });
  });

  story("leaves out a last line that was cut off, and says so", async () => {
    const { path } = await reportAll(coordinator.target, "torn", 3);
    appendFileSync(path, '{"sent":"01a1fb72-3256-72a2-a1');
    expect(await verify(coordinator.target, path)).toMatchObject({ code: 0, report: { ok: 3, tornLines: 1 } });
    const { stderr } = await runCli(["verify", path, "--target", coordinator.target]);
    expect(stderr).toContain("1 last line that was cut off");
  });

  story("ends with 6 when a ledger has acks of events that it never sent", async () => {
    const { path } = await reportAll(coordinator.target, "halves", 3);
    appendFileSync(path, ackedLine(mintUuidV7(), "STORED"));
    const { code, report } = await verify(coordinator.target, path);
    expect(code).toBe(6);
    expect(report).toMatchObject({ ok: 3, acksWithoutEvent: 1 });
  });

  // The embedded store takes no second client.
  if (kind !== "postgres") return;
  story("sees what somebody did to the tables", async () => {
    const { path, eventIds } = await reportAll(coordinator.target, "tampered", 9);
    const sql = postgres(server?.url ?? "", { max: 1, onnotice: () => undefined });
    await sql`DELETE FROM interaction_event WHERE event_id = ${eventIds[0] ?? ""}`;
    await sql`UPDATE interaction_event SET digest = gen_random_uuid() WHERE event_id = ${eventIds[4] ?? ""}`;
    await sql`UPDATE interaction SET event_count = event_count + 2 WHERE mcp_id = 'tampered' AND interaction_id = 'i-2'`;
    await sql.end();
    const { code, report } = await verify(coordinator.target, path);
    expect(code).toBe(1);
    // The merged i-0 still counts the event that was deleted.
    expect(report).toMatchObject({ ok: 7, lost: 1, differing: 1, duplicated: 3, unexpected: 0 });
  });
});

test.each([
  ["a file that is not there", ["/nowhere/ledger.jsonl"], 2, "/nowhere/ledger.jsonl cannot be read"],
  [
    "a file of authorities that holds none",
    [join(import.meta.dirname, "verify.test.ts"), "--ca-file", import.meta.filename],
    2,
    "holds no certificate",
  ],
  ["a temporary directory that is not there", ["x", "--temp-dir", "/nowhere"], 2, "--temp-dir /nowhere cannot be written"],
  ["no file", [], 2, "missing required argument"],
])("%s ends verify with its exit code and says why", async (_, args, code, message) => {
  const ended = await verify("127.0.0.1:1", ...args);
  expect(ended.stderr).toContain(message);
  expect(ended.code).toBe(code);
});

test("a file that is no ledger is refused with the number of each bad line, before anything is asked", async () => {
  const path = freshFile();
  const eventId = mintUuidV7();
  writeFileSync(path, `${ackedLine(eventId, "STORED")}{"sent":"${eventId}"}\nhello\n${ackedLine(eventId, "MAYBE")}`);
  const { code, stderr } = await verify("127.0.0.1:1", path);
  expect(code).toBe(2);
  expect(stderr).toContain("3 bad lines in the ledger; nothing was checked");
  expect(stderr).toContain(`${path}:2: "mcp" is not the id of an MCP`);
  expect(stderr).toContain(`${path}:3: not a JSON object`);
  expect(stderr).toContain(`${path}:4: "status" is not one of`);
});

test("nobody at the target is code 5, after tries that a restart would have fitted into", async () => {
  const path = freshFile();
  const eventId = mintUuidV7();
  writeFileSync(path, sentLine(eventId, "demo", "i-1", "s") + ackedLine(eventId, "STORED"));
  const { code, stderr } = await verify("127.0.0.1:1", path);
  expect(code).toBe(5);
  expect(stderr).toContain("127.0.0.1:1: cannot verify");
});
