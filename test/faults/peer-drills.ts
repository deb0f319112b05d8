import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { outputOf } from "../support/child-output.js";
import type { Abused, abuses } from "./abuses.js";
import { type Audit, addAudits, claim } from "./audit.js";
import { type Beside, describeBeside, measureBeside } from "./bystanders.js";
import type { Drill, DrillResult } from "./fault.js";

const dummyFile = fileURLToPath(new URL("./dummy-server.ts", import.meta.url));
/** What a bad peer and a dummy compute must not be taken from the coordinator and its healthy clients: on a real network they have machines of their own. */
const lowest = ["-n", "19"] as const;
/** Longest time for which a dummy is abused. */
const controlMaxMs = 6_000;
const processFile = fileURLToPath(new URL("./abuse-process.ts", import.meta.url));

/** What a bad peer may leave in the heap of a coordinator, and how it must have been answered. */
type Judge = (abused: Abused, beside: Beside) => Audit;

/** Most that may stay of it. MiB. */
const keptMaxMib = 16;

/** Most that it may take while it is there: eight sessions at their worst, a window of long verdicts each, and frames on their way. MiB. */
const peakMaxMib = 128;

const stayBounded: Judge = (_, { figures }) => {
  const peak =
    Number(figures.rssPeakGrowthMib) <= peakMaxMib ? undefined : `memory grew by ${figures.rssPeakGrowthMib} MiB, more than ${peakMaxMib}`;
  const kept =
    Number(figures.heapAfterMib) <= keptMaxMib ? undefined : `the heap kept ${figures.heapAfterMib} MiB, more than ${keptMaxMib}`;
  return addAudits(claim("I7", peak), claim("I7", kept));
};

/** Peers that behave badly: how much of it is felt by those who do not, and what is left behind. */
export const peerDrills: readonly Drill[] = [
  // Past slowConsumerMaxMs, so that they are ended. A session may hold two windows of events; verdicts of refused ones come on top.
  peerDrill("F14", "slow consumers: they send and never read", "slowConsumers", 40_000, stayBounded),
  peerDrill("F15", "a window violator: as many events as the wire takes", "windowViolator", 6_000, stayBounded),
  peerDrill("F25", "gzip bombs, nested bombs, and messages that only claim to be compressed", "gzipBombs", 6_000, (abused, beside) => {
    const wrong = abused.answers?.bomb === "8" ? undefined : `a bomb ended with grpc-status ${abused.answers?.bomb}, not 8`;
    return addAudits(claim("I10", wrong), stayBounded(abused, beside));
  }),
  peerDrill("F26a", "HTTP/2 rapid reset", "rapidReset", 6_000, stayBounded),
  peerDrill("F26b", "HTTP/2 CONTINUATION flood", "continuationFlood", 6_000, stayBounded),
  peerDrill("F26c", "HTTP/2 SETTINGS and PING floods from peers that do not read", "controlFlood", 6_000, stayBounded),
  // 20 connections with 100 queries each, of which queriesPerConnectionMax are answered with a page that nobody takes.
  peerDrill("F26d", "HTTP/2 zero window: answers that can never leave", "zeroWindow", 6_000, stayBounded),
  peerDrill("F26e", "HTTP/2 slow-loris: headers a byte at a time", "slowLoris", 6_000, stayBounded),
  peerDrill("F26f", "HTTP/2 WINDOW_UPDATE overflow and streams reset by provoked errors", "windowOverflow", 6_000, stayBounded),
];

function peerDrill(id: string, title: string, name: keyof typeof abuses, ms: number, judge: Judge): Drill {
  return {
    kind: "drill",
    id,
    title,
    run: async (context): Promise<DrillResult> => {
      const port = context.site.seats[0]?.port ?? 0;
      let abused: Abused = { what: "", sent: 0 };
      const beside = await measureBeside(
        context,
        id,
        async () => {
          abused = await runAbuse(name, port, ms);
        },
        () => abuseDummy(name, Math.min(ms, controlMaxMs)),
      );
      const answers = Object.entries(abused.answers ?? {}).map(([what, answer]) => `, ${what} ${answer}`);
      return {
        what: `${abused.what}${answers.join("")}; ${describeBeside(beside)}`,
        injected: 1,
        acked: beside.acked,
        figures: { ...beside.figures, sent: abused.sent, ...abused.answers },
        audit: addAudits(beside.audit, judge(abused, beside)),
      };
    },
  };
}

/** Runs a bad peer against a server that does nothing. */
async function abuseDummy(name: keyof typeof abuses, ms: number): Promise<void> {
  const dummy = spawn("nice", [...lowest, process.execPath, "--import", "tsx", dummyFile], { stdio: ["pipe", "pipe", "inherit"] });
  try {
    const [port] = (await once(dummy.stdout, "data")) as [Buffer]; // one short line
    await runAbuse(name, Number(String(port)), ms);
  } finally {
    dummy.kill("SIGKILL");
  }
}

/** Runs a bad peer to its end, with the lowest priority. Errors: with what it wrote to stderr when it fails. */
async function runAbuse(name: string, port: number, ms: number): Promise<Abused> {
  const child = spawn("nice", [...lowest, process.execPath, "--import", "tsx", processFile, name, String(port), String(ms)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const { code, stdout, stderr } = await outputOf(child);
  if (code !== 0) throw new Error(`${name} ended with ${code}: ${stderr}`);
  return JSON.parse(stdout) as Abused; // what abuse-process.ts writes
}
