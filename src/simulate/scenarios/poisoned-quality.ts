import { poisson, steady } from "../arrivals.js";
import { contenderNamed } from "../contenders.js";
import { simulate } from "../engine.js";
import { commonFigures, countsByServer } from "../figures.js";
import { tell } from "../judging.js";
import type { Cell, Judgement, Results, Scenario } from "../scenario.js";
import { equalServers, plainVerdict, plainWorld, type Verdict, type World } from "../world.js";

const serverCount = 8;
const requestsPerSecond = 40;
const horizonMs = 300_000;
/** The one that may lie. */
const liar = 3;
const trueQuality = 0.7;

/** What the liar says of an answer worth `quality`, with a draw that belongs to the request. */
type Lie = { readonly name: string; readonly claims: (quality: number, draw: number) => number; readonly auditedShare: number };

const lies: readonly Lie[] = [
  { name: "always 1.0", claims: () => 1, auditedShare: 0 },
  { name: "0.97 to 1.0", claims: (_quality, draw) => 0.97 + 0.03 * draw, auditedShare: 0 },
  { name: "0.97 to 1.0, 5 % audited", claims: (_quality, draw) => 0.97 + 0.03 * draw, auditedShare: 0.05 },
];

/** Eight equal MCPs of whose answers 70 % are right; each rates itself rightly, but for the liar. Purposes from 101 up are this scenario's own draws. */
function world(lie: Lie | undefined, auditedShare: number): World {
  return {
    ...plainWorld,
    servers: equalServers(serverCount, { cores: Number.POSITIVE_INFINITY, capacity: 100 }),
    arrivals: steady(poisson(requestsPerSecond), () => 100, horizonMs),
    measureFromMs: 60_000,
    answering: (server, _arrival, _atMs, draw): Verdict => {
      const quality = draw(101) < trueQuality ? 1 : 0;
      const isAudited = draw(102) < auditedShare;
      const claimed = server === liar && lie !== undefined ? lie.claims(quality, draw(103)) : quality;
      return { ...plainVerdict, quality: claimed, trueQuality: quality, auditedQuality: isAudited ? quality : undefined };
    },
  };
}

function cellOf(lie: Lie): Cell {
  return {
    name: lie.name,
    run: (contender, seed) => {
      const shareOf = (tale: Lie | undefined): { readonly share: number; readonly figures: ReturnType<typeof commonFigures> } => {
        const log = simulate(world(tale, lie.auditedShare), contenderNamed(contender), seed);
        const later = log.outcomes.filter(({ arrival }) => arrival.atMs >= log.measureFromMs);
        return { share: (countsByServer(later, serverCount)[liar] ?? 0) / later.length, figures: commonFigures(log) };
      };
      const [honest, lying] = [shareOf(undefined), shareOf(lie)];
      return {
        ...lying.figures,
        honestPercent: 100 * honest.share,
        lyingPercent: 100 * lying.share,
        gainedPercent: 100 * (lying.share / honest.share - 1),
      };
    },
  };
}

function judgeGain(results: Results, cell: string): Judgement {
  const gained = results.values(cell, "P13-ours", "gainedPercent");
  const mean = gained.reduce((sum, value) => sum + value, 0) / gained.length;
  return { measured: `${tell(gained, 1)} % more`, isMet: mean <= 25 };
}

export const poisonedQuality: Scenario = {
  id: "S19",
  name: "poisoned-quality",
  question: "One of eight equal MCPs reports the best quality for everything it does: how much more traffic does it get?",
  setting:
    "Eight MCPs of whose answers 70 % are right, 40 requests a second for five minutes, the first one not counted. Each reports the quality of its answers, all rightly but one. " +
    "It says 1.0 always, or something between 0.97 and 1.0, which no test for constants can find; in the last setting one answer in twenty is graded by somebody independent. " +
    "The gain is over the share of the same MCP in the same run with honest reports.",
  contenders: ["P13-ours", "P11-routing-sampling", "P12-d-lin-ucb"],
  cells: lies.map(cellOf),
  columns: [
    { figure: "honestPercent", heading: "honest share, %", digits: 1 },
    { figure: "lyingPercent", heading: "share, %", digits: 1 },
    { figure: "gainedPercent", heading: "gained, %", digits: 1 },
    { figure: "p99Ms", heading: "p99 ms", digits: 0 },
  ],
  claims: lies.map(({ name }) => ({
    text: `${name}: at most 25 % more than its share when it is honest`,
    judge: (results) => judgeGain(results, name),
  })),
};
