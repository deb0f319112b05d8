-- The log of routing decisions. Partitioned by the day in the id, like the events: what retention throws away is a table, not rows.
-- `candidates` is NULL where only the choice is kept. Nothing is rounded: propensities and scores are the doubles that the router computed.
CREATE TABLE "route_decision" (
  "decision_id" uuid NOT NULL,
  "decided_at" timestamptz NOT NULL,
  "coordinator_id" text NOT NULL,
  "key_id" text NOT NULL,
  "config_version" bigint NOT NULL,
  "weights_term" bigint NOT NULL,
  "weights_version" bigint NOT NULL,
  "policy_id" text NOT NULL,
  "policy_hash" text NOT NULL,
  "request_class" text NOT NULL,
  "features" jsonb NOT NULL,
  "chosen" text COLLATE "C" NOT NULL,
  "propensity" double precision NOT NULL,
  "tier_share" double precision NOT NULL,
  "epsilon" double precision NOT NULL,
  "regime" smallint NOT NULL CHECK ("regime" BETWEEN 1 AND 5),
  "is_exploration" boolean NOT NULL,
  "seed" bigint NOT NULL,
  "is_ope_eligible" boolean NOT NULL,
  "lease_ms" double precision NOT NULL,
  "candidates" jsonb,
  "kept_share" double precision NOT NULL,
  "shadow" jsonb NOT NULL,
  PRIMARY KEY ("decision_id")
) PARTITION BY RANGE ("decision_id");
--> statement-breakpoint
-- What became of decisions, as the MCP that was chosen reports it. Its own table: an MCP's stream may be on another coordinator than the decision, and its end may
-- be written before the decision is. Rows of MCPs that were not chosen match no decision.
CREATE TABLE "route_outcome" (
  "decision_id" uuid NOT NULL,
  "mcp_id" text COLLATE "C" NOT NULL,
  "interaction_id" text COLLATE "C" NOT NULL,
  "state" smallint CHECK ("state" BETWEEN 1 AND 3),
  "censored_because" text NOT NULL,
  "is_late" boolean NOT NULL,
  "observed_ms" double precision,
  "duration_ms" double precision,
  "quality" double precision,
  "error_code" text NOT NULL,
  "recorded_at" timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY ("decision_id", "mcp_id")
) WITH (fillfactor = 75);
--> statement-breakpoint
CREATE INDEX "route_outcome_recorded_at" ON "route_outcome" USING brin ("recorded_at") WITH (pages_per_range = 32, autosummarize = on);
--> statement-breakpoint
-- What operators decided about routing: one row, and the history of its changes.
CREATE TABLE "routing_config" (
  "singleton" boolean PRIMARY KEY DEFAULT true CHECK ("singleton"),
  "version" bigint NOT NULL,
  "document" jsonb NOT NULL,
  "changed_at" timestamptz,
  "changed_by" text NOT NULL
);
--> statement-breakpoint
INSERT INTO "routing_config" ("version", "document", "changed_by") VALUES (0, '{}', '');
--> statement-breakpoint
CREATE TABLE "routing_config_audit" (
  "version" bigint PRIMARY KEY,
  "changed_at" timestamptz NOT NULL,
  "changed_by" text NOT NULL,
  "coordinator_id" text NOT NULL,
  "reason" text NOT NULL,
  "changes" jsonb NOT NULL
);
--> statement-breakpoint
CREATE FUNCTION "refuse_change_of_audit"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the audit of the routing configuration is only ever appended to';
END $$;
--> statement-breakpoint
CREATE TRIGGER "routing_config_audit_is_append_only" BEFORE UPDATE OR DELETE OR TRUNCATE ON "routing_config_audit"
  FOR EACH STATEMENT EXECUTE FUNCTION "refuse_change_of_audit"();
