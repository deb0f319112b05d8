import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { openSpool } from "../../src/client/spool/open-spool.js";
import { encodeEvent } from "../../src/client/wire/frames.js";
import { seededRng } from "../../src/platform/rng.js";
import { outputOf } from "../support/child-output.js";

const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
const rounds = Number(process.env.KILL_ROUNDS ?? 12);
const damages = Number(process.env.DAMAGES ?? 24);
const root = mkdtempSync(join(tmpdir(), "spool-crash-"));
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

afterAll(() => rmSync(root, { recursive: true, force: true }));

const script = (name: string, ...args: readonly string[]): ChildProcess =>
  spawn(process.execPath, ["--import", "tsx", `test/support/${name}.ts`, ...args], { stdio: ["ignore", "pipe", "pipe"] });

/** All places in a spool, read in small pages. */
function placesIn(directory: string): Promise<readonly number[]> {
  const spool = openSpool({ directory });
  const places: number[] = [];
  for (let place = 0; ; ) {
    const page = spool.readAfter(place, 97);
    if (page.length === 0) break;
    for (const event of page) places.push(event.place);
    place = page.at(-1)?.place ?? place;
  }
  const { events, repair } = spool.figures();
  expect({ events, repair }).toEqual({ events: places.length, repair: undefined });
  return spool.close().then(() => places);
}

/** The newest number that a writer told under a word. */
const lastOf = (output: string, word: string): number => {
  const line = output.split("\n").findLast((text) => text.startsWith(`${word} `));
  return Number(line?.slice(word.length + 1) ?? 0);
};

describe("kill -9 of the process that holds a spool", () => {
  it(`loses nothing that was flushed, and brings nothing twice or back, ${rounds} times at random moments (SEED=${seed})`, {
    timeout: 600_000,
  }, async () => {
    const rng = seededRng(seed);
    const directory = join(root, "killed.db");
    let durable = 0;
    let forgotten = 0;
    for (let round = 0; round < rounds; round++) {
      const writer = script("spool-writer", directory, String(seed + round));
      const ended = outputOf(writer);
      await new Promise((resolve) => writer.stdout?.once("data", resolve));
      await sleep(rng() * 300);
      writer.kill("SIGKILL");
      const { stdout, stderr, code } = await ended;
      expect({ code, stderr }).toEqual({ code: "SIGKILL", stderr: "" });
      durable = Math.max(durable, lastOf(stdout, "durable"));
      forgotten = Math.max(forgotten, lastOf(stdout, "forgotten"));
      const places = await placesIn(directory);
      // What is there is one run without gaps: it begins behind what was forgotten, and ends at or behind what was flushed.
      const [first = durable + 1] = places;
      expect(places).toEqual(Array.from(places, (_, i) => first + i));
      expect(first).toBeGreaterThan(forgotten);
      if (durable > forgotten) expect(places.at(-1) ?? first - 1).toBeGreaterThanOrEqual(durable);
      durable = Math.max(durable, places.at(-1) ?? 0);
      forgotten = Math.max(forgotten, first - 1);
    }
    expect(durable).toBeGreaterThan(0);
  });
});

describe("a damaged file under a spool", () => {
  it(`never ends the process: what can be read is there once, and it takes new events (SEED=${seed}, ${damages} damages)`, {
    timeout: 600_000,
  }, async () => {
    const sound = join(root, "sound.db");
    const spool = openSpool({ directory: sound });
    for (let i = 1; i <= 300; i++) {
      spool.put(`e-${i}`, i % 2 === 0 ? "progress" : "complete", encodeEvent({ interactionId: "x".repeat(i % 10 === 0 ? 9_000 : 300) }));
      if (i % 20 === 0) await spool.flushed();
    }
    await spool.close();
    const { code, stdout, stderr } = await outputOf(script("spool-openings", sound, join(root, "work.db"), String(seed), String(damages)));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const seen = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(seen.length).toBe(damages);
    for (const { read, distinct, strangers, isCut, isRepaired } of seen) {
      expect({ distinct, strangers }).toEqual({ distinct: read, strangers: 0 });
      if (isCut) expect(isRepaired).toBe(true);
    }
    expect(Math.max(...seen.map(({ read }) => read))).toBeGreaterThan(150);
  });
});

describe("a full disk under a spool", () => {
  it("is told with its reason, costs nothing that was durable, ends nothing, and is over when there is room", async () => {
    const command = `ulimit -f 3000; exec "${process.execPath}" --import tsx test/support/spool-disk-full.ts "${join(root, "full.db")}"`;
    const child = spawn("bash", ["-c", command], { stdio: ["ignore", "pipe", "ignore"] });
    const { code, stdout } = await outputOf(child);
    expect(code).toBe(0);
    const { first, readable, refusedAtOnce, second, left, events, kinds, unhandled } = JSON.parse(stdout);
    expect(first.durable).toBeGreaterThan(500);
    expect(["SPOOL_DISK_FULL", "SPOOL_DISK_FAILED"]).toContain(first.reason);
    expect({ readable, refusedAtOnce, unhandled }).toEqual({ readable: first.durable, refusedAtOnce: true, unhandled: [] });
    expect(second.durable).toBeGreaterThan(100);
    expect({ left, events }).toEqual({ left: first.durable - 500 + second.durable, events: left });
    expect(kinds).toEqual(["disk", "full"]);
  });
});
