import { readFileSync } from "node:fs";
import { z } from "zod";

const count = z.int().min(1).max(10_000);
const ms = z.int().min(0).max(60_000);

/** What happens to the client under test, in order. docs/conformance.md says what each step does. */
const step = z.discriminatedUnion("do", [
  z.strictObject({ do: z.literal("report"), interactions: count.max(1_000), payload_bytes: z.int().min(0).max(200_000).default(0) }),
  z.strictObject({ do: z.literal("report_unfit") }),
  z.strictObject({ do: z.literal("report_early"), ahead_ms: ms }),
  z.strictObject({ do: z.literal("settle") }),
  z.strictObject({ do: z.literal("shrink"), after_events: count, max_unacked_events: count }),
  z.strictObject({ do: z.literal("restore") }),
  z.strictObject({ do: z.literal("stir") }),
  z.strictObject({ do: z.literal("kill"), after_events: count, attempts: count.max(10) }),
  z.strictObject({ do: z.literal("drain"), after_events: count, reconnect_delay_ms: ms }),
  z.strictObject({ do: z.literal("mute") }),
  z.strictObject({ do: z.literal("lose_grpc"), after_events: count, until_posted: count }),
  z.strictObject({ do: z.literal("offer_tables") }),
  z.strictObject({ do: z.literal("close") }),
]);

const terms = z.strictObject({
  max_unacked_events: count,
  max_unacked_bytes: z.int().min(262_144),
  max_batch_events: count,
  ack_delay_ms: ms,
  heartbeat_seconds: z.int().min(1).max(60),
  /** Longest wait of a step for the client. The default is generous: the timing of a busy machine is no fault. */
  patience_ms: ms.default(40_000),
});

const scenario = z.strictObject({ name: z.string().min(1), terms, steps: z.array(step).min(1).max(100) });

export type Step = z.infer<typeof step>;
/** What the coordinator asks of the client, as the relay puts it: narrower than the coordinator's own, so that it is reached. */
export type Terms = z.infer<typeof terms>;
export type Scenario = z.infer<typeof scenario>;

/** Reads a scenario file. Errors: of the file system, of JSON, and of the schema, with the path of the member. */
export function readScenario(path: string): Scenario {
  const read = scenario.safeParse(JSON.parse(readFileSync(path, "utf8")));
  if (!read.success) throw new Error(`${path}: ${z.prettifyError(read.error)}`);
  return read.data;
}
