// A process of its own that puts into a spool without end, and says on stdout what is durable: "durable <place>" and "forgotten <place>".

import { writeSync } from "node:fs";
import { openSpool } from "../../src/client/spool/open-spool.js";
import type { SpoolKind } from "../../src/client/spool/spool.js";
import { encodeEvent } from "../../src/client/wire/frames.js";
import { seededRng } from "../../src/platform/rng.js";

const [directory = "", seed = "1"] = process.argv.slice(2);
const rng = seededRng(Number(seed));
const kinds: readonly SpoolKind[] = ["start", "progress", "complete", "error"];
const say = (line: string) => writeSync(1, `${line}\n`);

const spool = openSpool({ directory });
say("open");
let forgotten = 0;
for (;;) {
  let last = 0;
  const count = 1 + Math.floor(rng() * 60);
  for (let i = 0; i < count; i++) {
    const size = rng() < 0.02 ? 12_000 : Math.floor(rng() * 600);
    last = spool.put("e", kinds[Math.floor(rng() * 4)] ?? "start", encodeEvent({ interactionId: "i".repeat(size) })) ?? last;
  }
  if (rng() < 0.7) {
    await spool.flushed();
    say(`durable ${last}`);
  } else await new Promise((resolve) => setImmediate(resolve));
  if (rng() < 0.3) {
    const page = spool.readAfter(forgotten, 1 + Math.floor(rng() * 100));
    spool.forget(page.map(({ place }) => place));
    await spool.flushed();
    forgotten = page.at(-1)?.place ?? forgotten;
    say(`forgotten ${forgotten}`);
  }
}
