-- Written by hand: Drizzle has no words for partitions, collations and storage parameters. tables.ts says the same columns; a test compares both.
-- Names are compared byte by byte (COLLATE "C"): cheaper than a locale, and the same order on every machine.
CREATE TABLE "producer" (
  "producer_id" text COLLATE "C" PRIMARY KEY,
  "mcp_id" text COLLATE "C" NOT NULL,
  "epoch" bigint NOT NULL DEFAULT 1,
  "resume_sequence" bigint NOT NULL DEFAULT 0,
  "session_id" text NOT NULL DEFAULT '',
  "coordinator_id" text NOT NULL DEFAULT '',
  "seen_at" timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
--> statement-breakpoint
CREATE TABLE "interaction_event" (
  "event_id" uuid NOT NULL,
  "mcp_id" text COLLATE "C" NOT NULL,
  "interaction_id" text COLLATE "C" NOT NULL,
  "producer_id" text COLLATE "C" NOT NULL DEFAULT '',
  "sequence" bigint NOT NULL DEFAULT 0,
  "kind" smallint NOT NULL CHECK ("kind" BETWEEN 1 AND 4),
  "source" smallint NOT NULL CHECK ("source" BETWEEN 1 AND 4),
  "occurred_at" timestamptz NOT NULL,
  "received_at" timestamptz NOT NULL DEFAULT now(),
  "digest" uuid NOT NULL,
  "body" jsonb NOT NULL,
  "raw" bytea,
  PRIMARY KEY ("event_id", "mcp_id")
) PARTITION BY RANGE ("event_id");
--> statement-breakpoint
CREATE INDEX "interaction_event_interaction" ON "interaction_event" ("mcp_id", "interaction_id", "event_id");
--> statement-breakpoint
CREATE TABLE "interaction" (
  "mcp_id" text COLLATE "C" NOT NULL,
  "interaction_id" text COLLATE "C" NOT NULL,
  "state" smallint NOT NULL CHECK ("state" BETWEEN 1 AND 4),
  "event_count" integer NOT NULL,
  "has_conflict" boolean NOT NULL,
  "last_event_slot" integer NOT NULL,
  "last_event_at" timestamptz NOT NULL,
  "started_at" timestamptz,
  "ended_at" timestamptz,
  "created_at" timestamptz NOT NULL DEFAULT now(),
  "start_event_id" uuid,
  "progress_event_id" uuid,
  "terminal_event_id" uuid,
  "duration_ms" double precision,
  "quality_score" double precision,
  "success" boolean,
  "request_type" text,
  "session_id" text,
  "user_pseudonym" text,
  "error_code" text,
  "adapter_used" text,
  PRIMARY KEY ("mcp_id", "interaction_id")
) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.02);
--> statement-breakpoint
CREATE INDEX "interaction_recent" ON "interaction" ("last_event_slot");
--> statement-breakpoint
CREATE INDEX "interaction_mcp_recent" ON "interaction" ("mcp_id", "last_event_slot");
--> statement-breakpoint
CREATE INDEX "interaction_started_at" ON "interaction" USING brin ("started_at") WITH (pages_per_range = 32, autosummarize = on);
--> statement-breakpoint
CREATE INDEX "interaction_created_at" ON "interaction" USING brin ("created_at") WITH (pages_per_range = 32, autosummarize = on);
--> statement-breakpoint
CREATE TABLE "dead_letter" (
  "id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  "received_at" timestamptz NOT NULL DEFAULT now(),
  "source" smallint NOT NULL,
  "mcp_id" text NOT NULL,
  "event_id" text NOT NULL,
  "reason" text NOT NULL,
  "frame" bytea NOT NULL
);
--> statement-breakpoint
CREATE INDEX "dead_letter_received_at" ON "dead_letter" ("received_at");
--> statement-breakpoint
CREATE TABLE "routing_head" (
  "singleton" boolean PRIMARY KEY DEFAULT true CHECK ("singleton"),
  "term" bigint NOT NULL,
  "version" bigint NOT NULL
);
--> statement-breakpoint
INSERT INTO "routing_head" ("term", "version") VALUES (0, 0);
--> statement-breakpoint
CREATE TABLE "routing_version" (
  "version" bigint PRIMARY KEY,
  "term" bigint NOT NULL,
  "digest" text NOT NULL,
  "routes" jsonb NOT NULL,
  "policy_id" text NOT NULL,
  "reason" text NOT NULL,
  "published_at" timestamptz NOT NULL
);
--> statement-breakpoint
CREATE INDEX "routing_version_published_at" ON "routing_version" ("published_at");
--> statement-breakpoint
CREATE TABLE "routing_ack" (
  "producer_id" text COLLATE "C" PRIMARY KEY,
  "mcp_id" text NOT NULL,
  "status" smallint NOT NULL CHECK ("status" BETWEEN 1 AND 4),
  "term" bigint NOT NULL,
  "version" bigint NOT NULL,
  "digest" text NOT NULL,
  "detail" text NOT NULL,
  "acked_at" timestamptz NOT NULL
) WITH (fillfactor = 50);
--> statement-breakpoint
CREATE TABLE "routing_ack_log" (
  "id" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  "producer_id" text COLLATE "C" NOT NULL,
  "mcp_id" text NOT NULL,
  "status" smallint NOT NULL CHECK ("status" BETWEEN 1 AND 4),
  "term" bigint NOT NULL,
  "version" bigint NOT NULL,
  "digest" text NOT NULL,
  "detail" text NOT NULL,
  "acked_at" timestamptz NOT NULL
);
--> statement-breakpoint
CREATE INDEX "routing_ack_log_acked_at" ON "routing_ack_log" ("acked_at");
--> statement-breakpoint
CREATE TABLE "instance_setting" (
  "key" text PRIMARY KEY,
  "value" text NOT NULL
);
