// A process of its own that opens a copy of a spool with each of many damages, reads all of it and writes to it. One line a damage; no process must die of one.

import { cpSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { openSpool } from "../../src/client/spool/open-spool.js";
import { seededRng } from "../../src/platform/rng.js";

const [sound = "", work = "", seed = "1", rounds = "10"] = process.argv.slice(2);
const rng = seededRng(Number(seed));
const original = readFileSync(join(sound, "data.mdb"));

for (let round = 0; round < Number(rounds); round++) {
  const isCut = round % 2 === 0;
  const damaged = isCut ? original.subarray(0, Math.floor(rng() * original.length)) : scratch(Buffer.from(original));
  rmSync(work, { recursive: true, force: true });
  cpSync(sound, work, { recursive: true });
  writeFileSync(join(work, "data.mdb"), damaged);
  writeSync(1, `${JSON.stringify({ round, isCut, bytes: damaged.length, ...(await look()) })}\n`);
}

/** Overwrites a few places: a bit, a number, or a page. */
function scratch(bytes: Buffer): Buffer {
  const count = 1 + Math.floor(rng() * 3);
  for (let i = 0; i < count; i++) {
    const at = Math.floor(rng() * bytes.length);
    const length = [1, 8, 4_096][Math.floor(rng() * 3)] ?? 1;
    for (let j = at; j < Math.min(bytes.length, at + length); j++) bytes[j] = Math.floor(rng() * 256);
  }
  return bytes;
}

async function look() {
  const spool = openSpool({ directory: work });
  const ids: string[] = [];
  for (let place = 0; ; ) {
    const page = spool.readAfter(place, 100);
    if (page.length === 0) break;
    for (const { eventId } of page) ids.push(eventId);
    place = page.at(-1)?.place ?? place;
  }
  spool.put("new", "start", new Uint8Array(0));
  await spool.flushed();
  spool.forget(spool.readAfter(0, 10).map(({ place }) => place));
  await spool.flushed();
  const { repair, unreadable } = spool.figures();
  await spool.close();
  return {
    read: ids.length,
    distinct: new Set(ids).size,
    strangers: ids.filter((id) => !/^e-\d+$/.test(id)).length,
    isRepaired: repair !== undefined,
    unreadable,
  };
}
