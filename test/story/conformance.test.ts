import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { clone } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { InteractionEventSchema } from "../../gen/mcp/coordinator/v1/events_pb.js";
import { ApplyStatus, RoutingAckSchema } from "../../gen/mcp/coordinator/v1/routes_pb.js";
import { EventBatchSchema, type FlowControl } from "../../gen/mcp/coordinator/v1/session_pb.js";
import { mintUuidV7 } from "../../src/platform/uuid-v7.js";
import type { Behaviour, Judgement } from "../conformance/judge.js";
import type { Bend, DownFrame, UpFrame } from "../conformance/relay.js";
import { formatCertificates } from "../conformance/report.js";
import { certify } from "../conformance/run.js";
import { readScenario, type Scenario, type Step } from "../conformance/scenario.js";
import { buildLanguage, reference } from "../conformance/toolchains.js";

const whole = readScenario(fileURLToPath(new URL("../conformance/scenario.json", import.meta.url)));

/** A part of the scenario: enough for one misbehaviour to show. A client that is stuck is not waited for long. */
const only = (name: string, steps: readonly Step[]): Scenario => ({
  name,
  terms: { ...whole.terms, patience_ms: 20_000 },
  steps: [...steps],
});

const throughKill = only("through a kill", [
  { do: "report", interactions: 60, payload_bytes: 0 },
  { do: "kill", after_events: 60, attempts: 2 },
  { do: "settle" },
  { do: "close" },
]);

/** The reference with a relay between it and the witness that makes it misbehave. */
async function misbehaving(scenario: Scenario, bend: Bend): Promise<(behaviour: Behaviour) => Judgement> {
  const { judgements, passed } = await certify(
    {
      name: "misbehaving",
      command: [...reference, "--no-http"], // which would bring over what the misbehaviour loses
      without: new Set(),
    },
    scenario,
    {
      misbehaviour: bend,
    },
  );
  expect(passed).toBe(false);
  return (behaviour) => {
    const found = judgements.find((judgement) => judgement.behaviour === behaviour);
    if (found === undefined) throw new Error(`${behaviour} was not judged`);
    return found;
  };
}

/** Bends the events of a frame; those for which `bend` gives nothing are left out. */
function bendEvents(frame: UpFrame, bend: (sequence: bigint) => { readonly eventId?: string } | undefined): readonly UpFrame[] {
  if (frame.case === "event") {
    const bent = bend(frame.value.sequence);
    return bent === undefined ? [] : [{ case: "event", value: Object.assign(clone(InteractionEventSchema, frame.value), bent) }];
  }
  if (frame.case !== "eventBatch") return [frame];
  const value = clone(EventBatchSchema, frame.value);
  value.events = value.events.flatMap((event) => {
    const bent = bend(event.sequence);
    return bent === undefined ? [] : [Object.assign(event, bent)];
  });
  return value.events.length === 0 ? [] : [{ case: "eventBatch", value }];
}

/** Sequences by the first stream that they were sent on. */
function firstStreams(): (sequence: bigint, stream: number) => number {
  const seen = new Map<bigint, number>();
  return (sequence, stream) => {
    const first = seen.get(sequence) ?? stream;
    seen.set(sequence, first);
    return first;
  };
}

describe("the conformance kit", () => {
  it("certifies the TypeScript client in every behaviour", { timeout: 900_000 }, async ({ annotate }) => {
    const certificate = await certify({ name: "typescript", command: reference, without: new Set() }, whole);
    await annotate(formatCertificates([certificate]));
    expect(certificate.judgements.filter(({ verdict }) => verdict !== "passed")).toEqual([]);
    expect(certificate.passed).toBe(true);
  });

  it("finds a client that forgets what it has sent", async () => {
    const firstStream = firstStreams();
    const judged = await misbehaving(throughKill, {
      up: (stream, frame) => bendEvents(frame, (sequence) => (firstStream(sequence, stream.index) === stream.index ? {} : undefined)),
    });
    expect(judged("stored")).toMatchObject({
      verdict: "failed",
      faults: expect.arrayContaining([expect.stringMatching(/is lost|stored \d/)]),
    });
    expect(judged("identity").verdict).toBe("passed");
    expect(judged("hello").verdict).toBe("passed");
  });

  it("finds a client that sends again under new ids", async () => {
    const firstStream = firstStreams();
    const judged = await misbehaving(throughKill, {
      up: (stream, frame) =>
        bendEvents(frame, (sequence) => (firstStream(sequence, stream.index) === stream.index ? {} : { eventId: mintUuidV7() })),
    });
    expect(judged("identity")).toMatchObject({
      verdict: "failed",
      faults: expect.arrayContaining([expect.stringContaining("not in the scenario")]),
    });
    expect(judged("stored").verdict).toBe("failed");
    expect(judged("hello").verdict).toBe("passed");
  });

  it("finds a client that does not keep to the window", async () => {
    const widen = (flow: FlowControl | undefined): void => {
      if (flow !== undefined) flow.maxUnackedEvents *= 10;
    };
    const scenario = only("one burst", [{ do: "report", interactions: 60, payload_bytes: 0 }, { do: "settle" }, { do: "close" }]);
    const judged = await misbehaving(scenario, {
      down: (_, frame: DownFrame) => {
        if (frame.case === "welcome") widen(frame.value.flowControl);
        else if (frame.case === "flowControl") widen(frame.value);
        else if (frame.case === "heartbeatAck") widen(frame.value.flowControl);
        return [frame];
      },
    });
    expect(judged("window_events")).toMatchObject({
      verdict: "failed",
      faults: expect.arrayContaining([expect.stringContaining("without a verdict")]),
    });
    expect(judged("stored").verdict).toBe("passed");
    expect(judged("close").verdict).toBe("passed");
  });

  it("finds a client that acks as applied what it could not apply", async () => {
    const scenario = only("tables", [
      { do: "report", interactions: 5, payload_bytes: 0 },
      { do: "stir" },
      { do: "offer_tables" },
      { do: "close" },
    ]);
    const judged = await misbehaving(scenario, {
      up: (_, frame) => {
        if (frame.case !== "routingAck" || frame.value.status !== ApplyStatus.REJECTED) return [frame];
        const value = clone(RoutingAckSchema, frame.value);
        value.status = ApplyStatus.APPLIED;
        return [{ case: "routingAck", value }];
      },
    });
    expect(judged("routes_rejected")).toMatchObject({
      verdict: "failed",
      faults: expect.arrayContaining([expect.stringContaining("APPLIED instead of REJECTED")]),
    });
    expect(judged("stored").verdict).toBe("passed");
  });
});

describe("a language", () => {
  /** Builds with a script that says `text` and exits with `code`. */
  async function building(code: number, text: string, tool = "true") {
    const dir = mkdtempSync(join(tmpdir(), "mcpc-build-"));
    try {
      const build = join(dir, "build.sh");
      writeFileSync(build, `#!/bin/sh\necho '${text}' >&2\nexit ${code}\n`);
      chmodSync(build, 0o755);
      return await buildLanguage({ name: "none", tools: [[tool]], build, run: (folder) => [folder] });
    } finally {
      rmSync(dir, { recursive: true });
    }
  }

  it("whose build goes wrong fails; one whose tools or packages cannot be had is skipped with the reason", async () => {
    expect(await building(0, "")).toMatchObject({ kind: "built" });
    expect(await building(1, "main.go:3: undefined: pb.Hello")).toMatchObject({
      kind: "failed",
      why: expect.stringContaining("undefined"),
    });
    expect(await building(1, "dial tcp: lookup packages.invalid: no such host")).toMatchObject({ kind: "skipped" });
    expect(await building(1, "go.mod requires go >= 1.99.0")).toMatchObject({ kind: "skipped", why: expect.stringContaining("too old") });
    expect(await building(0, "", "no-such-tool-here")).toMatchObject({
      kind: "skipped",
      why: expect.stringContaining("no-such-tool-here"),
    });
  });
});
