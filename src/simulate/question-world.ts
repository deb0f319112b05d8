import type { Arrivals } from "./arrivals.js";
import type { Contender } from "./dispatch.js";
import type { Arm, Question } from "./questions.js";
import { equalServers, plainVerdict, plainWorld, type ServerSpec, type World } from "./world.js";

/** An MCP of one of the two kinds. */
export type ArmServer = { readonly mcpId: string; readonly kind: Arm };

/** What an answer costs. A twentieth: the ratio of list prices of the two models was 1 : 40 in and 1 : 90 out. */
export const weakPrice = 0.05;
export const strongPrice = 1;

/** "mcp-000" upwards, the weak ones first. */
export function armServers(weakCount: number, strongCount: number): readonly ArmServer[] {
  return equalServers(weakCount + strongCount, {}).map(({ mcpId }, index) => ({ mcpId, kind: index < weakCount ? "weak" : "strong" }));
}

/**
 * A world in which a question is answered as its arm does, every answer is graded, and latency does not depend on load: only who answers what matters.
 * `kindAt` may make an MCP one of the other kind for a time.
 */
export function questionWorld(
  pool: readonly Question[],
  servers: readonly ArmServer[],
  arrivals: Arrivals,
  kindAt: (server: number, atMs: number) => Arm = (server) => servers[server]?.kind ?? "weak",
  like: Partial<Omit<ServerSpec, "mcpId">> = { cores: Number.POSITIVE_INFINITY, capacity: 1_000 },
): World {
  return {
    ...plainWorld,
    servers: equalServers(servers.length, like),
    arrivals,
    answering: (server, { item }, atMs) => {
      const kind = kindAt(server, atMs);
      const quality = pool[item]?.[kind] === true ? 1 : 0;
      const cost = kind === "strong" ? strongPrice : weakPrice;
      return { ...plainVerdict, quality, trueQuality: quality, auditedQuality: quality, cost };
    },
  };
}

/** Knows every answer beforehand, and asks a strong MCP only where no weak one is right. */
export function questionOracle(pool: readonly Question[], servers: readonly ArmServer[]): Contender {
  return {
    id: "P0-oracle",
    create: () => {
      const open = new Set<string>();
      let decisions = 0;
      return {
        joined: () => {},
        left: () => {},
        dispatch: (_request, _nowMs, { item }) => {
          const question = pool[item];
          const wanted: Arm = question !== undefined && !question.weak && question.strong ? "strong" : "weak";
          const able = servers.filter(({ kind }) => kind === wanted);
          const chosen = able[decisions % able.length];
          if (chosen === undefined) return undefined;
          const token = String(decisions);
          decisions += 1;
          open.add(token);
          return { mcpId: chosen.mcpId, token };
        },
        ended: (token) => void open.delete(token),
        tick: () => {},
        inFlight: () => open.size,
        figures: () => ({}),
      };
    },
  };
}
