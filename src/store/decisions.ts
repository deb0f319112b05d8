import { and, asc, eq, gt, gte, isNotNull, lt } from "drizzle-orm";
import { assert } from "../platform/assert.js";
import { uuidFloor } from "../platform/uuid-v7.js";
import type { Pool } from "./connect.js";
import type { DecisionFilter, DecisionRegime, DecisionState, DecisionWithOutcome, StoredDecision, StoredOutcome } from "./decision-row.js";
import { writeIntoPartitions } from "./partitions.js";
import { decisionTable, interactionTable, outcomeNumbers, outcomeTable, regimeNumbers, stateNumbers } from "./tables.js";

/** See Store.recordDecisions. JSON carries doubles as their shortest exact decimals, and NaN as a word that Postgres reads. */
export async function recordDecisions(pool: Pool, decisions: readonly StoredDecision[]): Promise<void> {
  if (decisions.length === 0) return;
  const text = JSON.stringify(
    decisions.map((decision) => ({ ...decision, propensity: floatText(decision.propensity), regime: regimeNumbers[decision.regime] })),
  );
  const write = () =>
    pool.run(
      ({ sql }) => sql`
      INSERT INTO route_decision (decision_id, decided_at, coordinator_id, key_id, config_version, weights_term, weights_version, policy_id, policy_hash,
        request_class, features, chosen, propensity, tier_share, epsilon, regime, is_exploration, seed, is_ope_eligible, lease_ms, candidates, kept_share,
        shadow)
      SELECT "decisionId", to_timestamp("decidedAtMs" / 1000), "coordinatorId", "keyId", "configVersion", "weightsTerm", "weightsVersion", "policyId",
        "policyHash", "requestClass", features, chosen, propensity, "tierShare", epsilon, regime, "isExploration", seed, "isOpeEligible", "leaseMs", candidates,
        "keptShare", shadow
      FROM json_to_recordset(${text}::text::json) AS t("decisionId" uuid, "decidedAtMs" float8, "coordinatorId" text, "keyId" text,
        "configVersion" bigint, "weightsTerm" bigint, "weightsVersion" bigint, "policyId" text, "policyHash" text, "requestClass" text, features jsonb,
        chosen text, propensity float8, "tierShare" float8, epsilon float8, regime smallint, "isExploration" boolean, seed bigint, "isOpeEligible" boolean,
        "leaseMs" float8, candidates jsonb, "keptShare" float8, shadow jsonb)
      ORDER BY "decisionId"
      ON CONFLICT (decision_id) DO NOTHING`,
    );
  await writeIntoPartitions(pool, "route_decision", () => decisions.map(({ decisionId }) => decisionId), write);
}

/** See Store.recordOutcomes. An end that was heard outranks "censored", whichever is written first. */
export async function recordOutcomes(pool: Pool, outcomes: readonly StoredOutcome[]): Promise<void> {
  if (outcomes.length === 0) return;
  const text = JSON.stringify(
    outcomes.map(({ state, ...rest }) => ({ ...rest, state: state === undefined ? null : outcomeNumbers[state] })),
  );
  await pool.run(
    ({ sql }) => sql`
      INSERT INTO route_outcome AS o (decision_id, mcp_id, interaction_id, state, censored_because, is_late, observed_ms, duration_ms, quality, error_code,
        audited_quality, auditor)
      SELECT "decisionId", "mcpId", "interactionId", state, "censoredBecause", "isLate", "observedMs", "durationMs", quality, "errorCode",
        "auditedQuality", auditor
      FROM json_to_recordset(${text}::text::json) AS t("decisionId" uuid, "mcpId" text, "interactionId" text, state smallint, "censoredBecause" text,
        "isLate" boolean, "observedMs" float8, "durationMs" float8, quality float8, "errorCode" text,
        "auditedQuality" float8, auditor text)
      ORDER BY "decisionId", "mcpId"
      ON CONFLICT (decision_id, mcp_id) DO UPDATE SET
        interaction_id = COALESCE(NULLIF(EXCLUDED.interaction_id, ''), o.interaction_id),
        state = LEAST(o.state, EXCLUDED.state),
        censored_because = CASE WHEN EXCLUDED.state <= COALESCE(o.state, 3) THEN EXCLUDED.censored_because ELSE o.censored_because END,
        is_late = o.is_late OR EXCLUDED.is_late,
        observed_ms = COALESCE(EXCLUDED.observed_ms, o.observed_ms), duration_ms = COALESCE(EXCLUDED.duration_ms, o.duration_ms),
        quality = COALESCE(EXCLUDED.quality, o.quality), error_code = COALESCE(NULLIF(EXCLUDED.error_code, ''), o.error_code),
        audited_quality = COALESCE(o.audited_quality, EXCLUDED.audited_quality),
        auditor = CASE WHEN o.audited_quality IS NULL THEN EXCLUDED.auditor ELSE o.auditor END`,
  );
}

/** See Store.readDecision. */
export async function readDecision(pool: Pool, decisionId: string, signal?: AbortSignal): Promise<DecisionWithOutcome | undefined> {
  const rows = await pool.run(({ db }) => joined(db).where(eq(decisionTable.decisionId, decisionId)).limit(1), { signal });
  return rows[0] === undefined ? undefined : withOutcome(rows[0]);
}

/** See Store.listDecisions. The time is in the id, so that a range of times is a range of the key. */
export async function listDecisions(
  pool: Pool,
  filter: DecisionFilter,
  count: number,
  afterId: string | undefined,
  signal?: AbortSignal,
): Promise<readonly DecisionWithOutcome[]> {
  const { decisionId, policyId, chosen, candidates } = decisionTable;
  const rows = await pool.run(
    ({ db }) =>
      joined(db)
        .where(
          and(
            gte(decisionId, uuidFloor(filter.startMs)),
            lt(decisionId, uuidFloor(filter.endMs)),
            afterId === undefined ? undefined : gt(decisionId, afterId),
            filter.policyId === undefined ? undefined : eq(policyId, filter.policyId),
            filter.chosen === undefined ? undefined : eq(chosen, filter.chosen),
            filter.hasCandidates ? isNotNull(candidates) : undefined,
          ),
        )
        .orderBy(asc(decisionId))
        .limit(count),
    { signal },
  );
  return rows.map(withOutcome);
}

type Db = Parameters<Parameters<Pool["run"]>[0]>[0]["db"];

/** Decisions with what the chosen MCP told of them, and with the interaction that it named. */
function joined(db: Db) {
  return db
    .select({
      decision: decisionTable,
      outcome: outcomeTable,
      ended: {
        state: interactionTable.state,
        durationMs: interactionTable.durationMs,
        quality: interactionTable.qualityScore,
        errorCode: interactionTable.errorCode,
      },
    })
    .from(decisionTable)
    .leftJoin(outcomeTable, and(eq(outcomeTable.decisionId, decisionTable.decisionId), eq(outcomeTable.mcpId, decisionTable.chosen)))
    .leftJoin(
      interactionTable,
      and(eq(interactionTable.mcpId, outcomeTable.mcpId), eq(interactionTable.interactionId, outcomeTable.interactionId)),
    )
    .$dynamic();
}

type Joined = Awaited<ReturnType<typeof joined>>[number];

function withOutcome({ decision, outcome, ended }: Joined): DecisionWithOutcome {
  const { decidedAt, regime, candidates, ...rest } = decision;
  return {
    decision: { ...rest, decidedAtMs: Math.floor(decidedAt / 1000), regime: regimeOf(regime), candidates: candidates ?? undefined },
    outcome: outcome === null ? undefined : completed(outcomeOf(outcome), ended),
  };
}

function outcomeOf({ recordedAt: _, ...row }: NonNullable<Joined["outcome"]>): StoredOutcome {
  return {
    ...row,
    state: row.state === null ? undefined : outcomeStateOf(row.state),
    observedMs: row.observedMs ?? undefined,
    durationMs: row.durationMs ?? undefined,
    quality: row.quality ?? undefined,
    auditedQuality: row.auditedQuality ?? undefined,
  };
}

/** The interaction tells how it ended where nobody was left to write the end of the decision: after a restart, and across coordinators. */
function completed(outcome: StoredOutcome, ended: Joined["ended"]): StoredOutcome {
  const isEnded = ended !== null && (ended.state === stateNumbers.completed || ended.state === stateNumbers.failed);
  if (!isEnded || outcome.state === "complete" || outcome.state === "error") return outcome;
  return {
    ...outcome,
    state: ended.state === stateNumbers.completed ? "complete" : "error",
    isLate: outcome.state === "censored",
    censoredBecause: "",
    durationMs: ended.durationMs ?? undefined,
    quality: ended.quality ?? undefined,
    errorCode: ended.errorCode ?? "",
  };
}

const regimes = new Map(Object.entries(regimeNumbers).map(([name, number]) => [number as number, name as DecisionRegime]));
const outcomeStates = new Map(Object.entries(outcomeNumbers).map(([name, number]) => [number as number, name as DecisionState]));

function regimeOf(number: number): DecisionRegime {
  const regime = regimes.get(number);
  assert(regime !== undefined, `route_decision.regime ${number} has a name`);
  return regime;
}

function outcomeStateOf(number: number): DecisionState {
  const state = outcomeStates.get(number);
  assert(state !== undefined, `route_outcome.state ${number} has a name`);
  return state;
}

/** JSON has no NaN; Postgres reads it from text. */
function floatText(value: number): number | string {
  return Number.isFinite(value) ? value : String(value);
}
