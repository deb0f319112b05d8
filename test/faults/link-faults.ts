import type { LinkShape } from "../support/tcp-proxy.js";
import { between, type Disturbance, oneOf } from "./fault.js";
import { sleep } from "./site.js";

/** Faults between clients and coordinators. */
export const linkFaults: readonly Disturbance[] = [
  {
    kind: "disturbance",
    id: "F12",
    title: "partition between clients and coordinators, one way or both",
    strike: async ({ site, rng, scale }) => {
      const way = oneOf(rng, ["up", "down", "both"] as const);
      const ms = between(rng, 1_000, 6_000) * scale;
      for (const direction of ["up", "down"] as const)
        if (way === direction || way === "both") site.front.shape(direction, { isHeld: true });
      await sleep(ms);
      // Half of them come back as they were; the others are reset by a router that has forgotten them.
      const isForgotten = rng() < 0.5;
      if (isForgotten) site.front.cut("reset");
      for (const direction of ["up", "down"] as const) site.front.shape(direction, {});
      return {
        what: `${way === "both" ? "both ways" : `${way}stream`} for ${(ms / 1_000).toFixed(1)} s, then ${isForgotten ? "reset" : "healed"}`,
        injected: 1,
      };
    },
  },
  {
    kind: "disturbance",
    id: "F13",
    title: "bad links: latency, little bandwidth, slices of a few bytes, resets",
    strike: async ({ site, rng }) => {
      const toxics: readonly (readonly [string, LinkShape])[] = [
        ["latency 200±100 ms", { latencyMs: 100, jitterMs: 200 }],
        ["64 KiB/s", { bytesPerSecond: 64 * 1024 }],
        ["slices of 1 to 7 bytes", { sliceMaxBytes: 7 }],
        ["reset after some bytes", { resetAfterBytes: between(rng, 100, 60_000) }],
        ["reset in the first bytes", { resetAfterBytes: between(rng, 1, 120) }],
      ];
      const used: string[] = [];
      for (let turns = between(rng, 1, 4); turns > 0; turns -= 1) {
        const [name, shape] = oneOf(rng, toxics);
        const direction = oneOf(rng, ["up", "down"] as const);
        used.push(`${direction} ${name}`);
        site.front.shape(direction, shape);
        await sleep(between(rng, 500, 2_500));
        site.front.shape(direction, {});
      }
      if (rng() < 0.5) site.front.cut(oneOf(rng, ["close", "reset"]));
      return { what: used.join(", "), injected: used.length };
    },
  },
];
