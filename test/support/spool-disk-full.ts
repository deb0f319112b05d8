// A process of its own that fills a disk under a spool, drains it, and fills it again. Run it with a bound on the size of files.

import { openSpool } from "../../src/client/spool/open-spool.js";
import type { SpoolTrouble } from "../../src/client/spool/trouble.js";
import { encodeEvent } from "../../src/client/wire/frames.js";
import { CoordinatorError } from "../../src/platform/errors.js";
import { limits } from "../../src/platform/limits.js";
import { ManualClock } from "./manual-clock.js";

const clock = new ManualClock(1_700_000_000_000);
const troubles: SpoolTrouble[] = [];
const unhandled: string[] = [];
process.on("unhandledRejection", (reason) => unhandled.push(String(reason)));
const spool = openSpool({ directory: process.argv[2] ?? "", clock, onTrouble: (trouble) => troubles.push(trouble) });
const encoded = encodeEvent({ interactionId: "x".repeat(1_000) });
let next = 0;

/** Puts and flushes until the disk refuses: how many events were durable, and with which reason it refused. */
async function fill(): Promise<{ durable: number; reason: string }> {
  for (let durable = 0; ; durable += 100) {
    for (let i = 0; i < 100; i++) spool.put(`e-${next++}`, "complete", encoded);
    try {
      await spool.flushed();
    } catch (thrown) {
      return { durable, reason: CoordinatorError.from(thrown).reason };
    }
  }
}

function count(): number {
  let seen = 0;
  for (let place = 0; ; ) {
    const page = spool.readAfter(place, 500);
    if (page.length === 0) return seen;
    seen += page.length;
    place = page.at(-1)?.place ?? place;
  }
}

const first = await fill();
const readable = count();
const refusedAtOnce = spool.put("late", "error", encoded) === undefined;
spool.forget(spool.readAfter(0, 500).map(({ place }) => place));
await spool.flushed();
await clock.advance(limits.spoolRetryMs);
const second = await fill();
const left = count();
await spool.close();
const again = openSpool({ directory: process.argv[2] ?? "", clock });
const { events } = again.figures();
await again.close();
const kinds = [...new Set(troubles.map(({ kind }) => kind))];
process.stdout.write(JSON.stringify({ first, readable, refusedAtOnce, second, left, events, kinds, unhandled }));
