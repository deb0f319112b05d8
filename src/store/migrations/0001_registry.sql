-- The revision of the registry: one row, locked by every change, so that revisions are committed in their order. "floor" is the newest revision
-- of which something has been forgotten: whoever follows from before it has to start again.
CREATE TABLE "registry_head" (
  "singleton" boolean PRIMARY KEY DEFAULT true CHECK ("singleton"),
  "revision" bigint NOT NULL,
  "floor" bigint NOT NULL
);
--> statement-breakpoint
INSERT INTO "registry_head" ("revision", "floor") VALUES (0, 0);
--> statement-breakpoint
CREATE TABLE "mcp_counter" (
  "name" text COLLATE "C" PRIMARY KEY,
  "last" bigint NOT NULL
);
--> statement-breakpoint
CREATE TABLE "mcp" (
  "mcp_id" text COLLATE "C" PRIMARY KEY,
  "name" text COLLATE "C" NOT NULL,
  "version" text COLLATE "C" NOT NULL,
  "instance" text COLLATE "C" NOT NULL,
  "source" smallint NOT NULL CHECK ("source" BETWEEN 1 AND 2),
  "profile" jsonb NOT NULL,
  "config" jsonb NOT NULL,
  "config_version" bigint NOT NULL,
  "health" smallint NOT NULL CHECK ("health" BETWEEN 1 AND 3),
  "key_id" text NOT NULL DEFAULT '',
  "key_sha256" text NOT NULL DEFAULT '',
  "registered_at" timestamptz NOT NULL DEFAULT now(),
  "changed_at" timestamptz NOT NULL DEFAULT now(),
  "revision" bigint NOT NULL
);
--> statement-breakpoint
CREATE INDEX "mcp_revision" ON "mcp" ("revision");
--> statement-breakpoint
CREATE INDEX "mcp_identity" ON "mcp" ("name", "version", "instance");
--> statement-breakpoint
CREATE TABLE "mcp_lease" (
  "mcp_id" text COLLATE "C" PRIMARY KEY,
  "state" smallint NOT NULL CHECK ("state" BETWEEN 1 AND 4),
  "steady_beats" integer NOT NULL,
  "needed_beats" integer NOT NULL,
  "beat" bigint NOT NULL DEFAULT 0,
  "beat_at" timestamptz NOT NULL DEFAULT now(),
  "coordinator_id" text NOT NULL
) WITH (fillfactor = 50);
--> statement-breakpoint
CREATE TABLE "mcp_history" (
  "revision" bigint PRIMARY KEY,
  "mcp_id" text COLLATE "C" NOT NULL,
  "at" timestamptz NOT NULL DEFAULT now(),
  "kind" text NOT NULL,
  "detail" text NOT NULL
);
--> statement-breakpoint
CREATE INDEX "mcp_history_mcp" ON "mcp_history" ("mcp_id", "revision");
--> statement-breakpoint
CREATE INDEX "mcp_history_at" ON "mcp_history" ("at");
--> statement-breakpoint
CREATE TABLE "mcp_config_ack" (
  "mcp_id" text COLLATE "C" NOT NULL,
  "producer_id" text COLLATE "C" NOT NULL,
  "version" bigint NOT NULL,
  "status" smallint NOT NULL CHECK ("status" BETWEEN 1 AND 4),
  "detail" text NOT NULL,
  "acked_at" timestamptz NOT NULL,
  PRIMARY KEY ("mcp_id", "producer_id")
) WITH (fillfactor = 50);
