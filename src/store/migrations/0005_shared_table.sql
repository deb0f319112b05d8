-- Where producers that speak nothing but SQL leave reports: they insert (mcp_id, interaction_id, data), and coordinators take the rows out in the transaction that stores
-- the events. `processed` is a column that others are promised: rows of which it is true are nobody's to take. A table that is there already, made as the mission's
-- documents say, is used as it is. `data` is json, which keeps the text as it came and takes every JSON; jsonb would refuse some.
CREATE TABLE IF NOT EXISTS "interaction_logs" (
  "id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  "mcp_id" text NOT NULL,
  "interaction_id" text NOT NULL,
  "timestamp" timestamptz NOT NULL DEFAULT now(),
  "data" json NOT NULL,
  "processed" boolean NOT NULL DEFAULT false
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
--> statement-breakpoint
CREATE INDEX IF NOT EXISTS "interaction_logs_waiting" ON "interaction_logs" ("id") WHERE NOT "processed";
