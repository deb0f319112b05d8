-- What an ack answered, why it refused, and how long it took. `term`, `version` and `digest` stay what is in force at the client.
ALTER TABLE "routing_ack"
  ADD COLUMN "answered_term" bigint NOT NULL DEFAULT 0,
  ADD COLUMN "answered_version" bigint NOT NULL DEFAULT 0,
  ADD COLUMN "answered_digest" text NOT NULL DEFAULT '',
  ADD COLUMN "rejection" smallint CHECK ("rejection" BETWEEN 1 AND 3),
  ADD COLUMN "verdicts" jsonb NOT NULL DEFAULT '[]',
  ADD COLUMN "apply_us" bigint,
  ADD COLUMN "ack_delay_us" bigint;
--> statement-breakpoint
ALTER TABLE "routing_ack_log"
  ADD COLUMN "answered_term" bigint NOT NULL DEFAULT 0,
  ADD COLUMN "answered_version" bigint NOT NULL DEFAULT 0,
  ADD COLUMN "answered_digest" text NOT NULL DEFAULT '',
  ADD COLUMN "rejection" smallint CHECK ("rejection" BETWEEN 1 AND 3),
  ADD COLUMN "verdicts" jsonb NOT NULL DEFAULT '[]',
  ADD COLUMN "apply_us" bigint,
  ADD COLUMN "ack_delay_us" bigint;
--> statement-breakpoint
CREATE INDEX "routing_ack_log_content_rejections" ON "routing_ack_log" ("id") WHERE "rejection" = 1;
