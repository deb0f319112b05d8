CREATE UNLOGGED TABLE "router_digest" (
  "coordinator_id" text COLLATE "C" PRIMARY KEY,
  "run_id" text NOT NULL,
  "seq" bigint NOT NULL,
  "format" smallint NOT NULL,
  "body" text NOT NULL,
  "written_at" timestamptz NOT NULL
);
--> statement-breakpoint
CREATE TABLE "router_state" (
  "coordinator_id" text COLLATE "C" PRIMARY KEY,
  "format" smallint NOT NULL,
  "body" text NOT NULL,
  "saved_at" timestamptz NOT NULL
);
