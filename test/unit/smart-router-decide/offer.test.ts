import fc from "fast-check";
import { expect, test } from "vitest";
import { healthDefaults } from "../../../src/smart-router/health/settings.js";
import { addStream, dropStream, strainOf, strainStream, suspectStream } from "../../../src/smart-router/in-flight.js";
import { createMember, isSuspect, type Member } from "../../../src/smart-router/member.js";
import { offerOf } from "../../../src/smart-router/offer.js";
import { plainRequest } from "../../../src/smart-router/request.js";
import { plainTarget } from "../../../src/smart-router/router.js";

const settings = { maxConcurrentDefault: 10, health: healthDefaults };

type Drawn = {
  readonly state: "healthy" | "warming" | "degraded";
  readonly counted: number;
  readonly maxConcurrent: number | undefined;
  readonly weight: number;
  readonly priority: number;
  readonly isSuspect: boolean;
};

function memberOf(mcpId: string, drawn: Drawn): Member {
  const member = createMember(mcpId, 0, 1_000, 0);
  const { maxConcurrent, weight, priority } = drawn;
  member.config = { ...plainTarget(mcpId), maxConcurrent, weight, priority };
  member.standing.state = drawn.state;
  member.standing.warmingMs = 10_000;
  member.load.counted = drawn.counted;
  addStream(member.load, "s");
  suspectStream(member.load, "s", { isSilent: drawn.isSuspect });
  return member;
}

const mostly = <T>(usual: T, other: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 8, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: other });
const drawn: fc.Arbitrary<Drawn> = fc.record({
  state: fc.constantFrom("healthy", "warming", "degraded"),
  counted: mostly(0, fc.nat(12)),
  maxConcurrent: fc.constantFrom(undefined, 3, 10),
  weight: mostly(100, fc.constantFrom(0, 50)),
  priority: mostly(0, fc.constant(1)),
  isSuspect: mostly(false, fc.constant(true)),
});

test("an MCP that cannot be chosen changes nothing of what the others are offered", () => {
  fc.assert(
    fc.property(fc.array(drawn, { minLength: 1, maxLength: 6 }), fc.boolean(), (fleet, excludesOne) => {
      const members = fleet.map((one, index) => memberOf(`mcp-${index}`, one));
      const request = { ...plainRequest, exclude: new Set(excludesOne ? ["mcp-0"] : []) };
      const offer = offerOf(members, request, settings, 500, () => 0.3);
      // One that was never connected: with it, nobody can say at a glance that all are well.
      const stranger = createMember("never", 0, 1_000, 0);
      const ladder = offerOf([...members, stranger], request, settings, 500, () => 0.3);
      expect(offer.kind).toBe(ladder.kind);
      expect(offer.targets).toEqual(ladder.targets);
      expect(offer.excluded).toEqual(ladder.excluded.filter(({ member }) => member !== stranger));
    }),
    { numRuns: 2_000 },
  );
});

test("a tier does not miss the capacity of an MCP that has never been there", () => {
  const well = { state: "healthy", counted: 0, maxConcurrent: 10, weight: 100, priority: 0, isSuspect: false } as const;
  const fleet = [memberOf("a", well), memberOf("b", well), memberOf("spare", { ...well, priority: 1 })];
  const idsOf = (members: readonly Member[]) => offerOf(members, plainRequest, settings, 500, () => 0.95).targets.map(({ mcpId }) => mcpId);
  const joining = [createMember("never-1", 0, 1_000, 0), createMember("never-2", 0, 1_000, 0)];
  expect(idsOf([...fleet, ...joining])).toEqual(idsOf(fleet));
  expect(idsOf(fleet)).toEqual(["a", "b"]);
});

test("an MCP is suspect while all of its sessions are, whatever comes and goes", () => {
  const steps = fc.array(
    fc.tuple(fc.constantFrom("open", "close", "silent", "heard", "lags", "keeps up"), fc.constantFrom("s1", "s2", "s3")),
  );
  fc.assert(
    fc.property(steps, (taken) => {
      const member = createMember("a", 0, 1_000, 0);
      for (const [does, session] of taken) {
        if (does === "open") addStream(member.load, session);
        else if (does === "close") dropStream(member.load, session);
        else if (does === "silent" || does === "heard") suspectStream(member.load, session, { isSilent: does === "silent" });
        else strainStream(member.load, session, { unansweredTables: does === "lags" ? 3 : 2, heartbeatJitter: 0 }, 3);
        const streams = [...member.load.streams.values()];
        expect(isSuspect(member)).toBe(streams.length > 0 && streams.every(({ isSilent, isLagging }) => isSilent || isLagging));
        const fewest = Math.min(...streams.map(({ unansweredTables }) => unansweredTables));
        expect(strainOf(member.load).unansweredTables).toBe(streams.length === 0 ? 0 : fewest);
      }
    }),
  );
});
