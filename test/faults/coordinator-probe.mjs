// Loaded into a coordinator process with `node --import`, before the program: lets the fault suite ask for figures that only the process knows, stall its
// event loop, and move its clock; and tells which steps of the session table it took. Speaks over the Unix socket in MCPC_FAULTS_PROBE, one line of JSON each way.
import { subscribe } from "node:diagnostics_channel";
import { appendFileSync } from "node:fs";
import { createServer } from "node:net";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { isMainThread } from "node:worker_threads";

const { MCPC_FAULTS_PROBE: path, MCPC_FAULTS_STEPS: stepsFile } = process.env;
const systemNow = Date.now;
const SystemDate = Date;
let offsetMs = 0;

/** `Date` of a machine whose clock is `offsetMs` ahead. The monotonic clock is not touched, as on a real machine. */
class SkewedDate extends SystemDate {
  constructor(...parts) {
    if (parts.length === 0) super(systemNow() + offsetMs);
    else super(...parts);
  }
  static now() {
    return systemNow() + offsetMs;
  }
}

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc");

const answers = {
  /** Heap after a collection, resident bytes, and what keeps the loop alive, by kind. */
  figures: () => {
    collectGarbage();
    const resources = {};
    for (const kind of process.getActiveResourcesInfo()) resources[kind] = (resources[kind] ?? 0) + 1;
    const { heapUsed, rss, external, arrayBuffers } = process.memoryUsage();
    return { heapUsed, rss, external, arrayBuffers, resources };
  },
  /** Blocks the event loop, as a regular expression or a collection would. */
  stall: ({ ms }) => {
    const untilMs = performance.now() + ms;
    while (performance.now() < untilMs);
    return {};
  },
  /** Sets how far the wall clock is ahead. */
  clock: ({ ms }) => {
    offsetMs = ms;
    return {};
  },
};

/** Each kind of step once, at once: a line outlives kill -9. One file for all processes, since a short line is appended whole. */
function noteSteps() {
  const noted = new Set();
  subscribe("mcp-coordinator.session.step", ({ before, event, step }) => {
    const line = JSON.stringify([before.kind, event.kind, step.next.kind, step.effects.map(({ kind }) => kind)]);
    if (noted.has(line)) return;
    noted.add(line);
    appendFileSync(stepsFile, `${line}\n`);
  });
}

if (isMainThread && stepsFile !== undefined) noteSteps();
if (isMainThread && path !== undefined) {
  globalThis.Date = SkewedDate;
  const server = createServer((socket) => {
    let text = "";
    socket.on("error", () => {});
    socket.setEncoding("utf8").on("data", (chunk) => {
      text += chunk;
      if (!text.includes("\n")) return;
      const { ask, ...rest } = JSON.parse(text);
      socket.end(`${JSON.stringify(answers[ask](rest))}\n`);
    });
  });
  server.listen(path);
  server.unref();
}
