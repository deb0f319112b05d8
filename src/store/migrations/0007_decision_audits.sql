-- What an independent judge made of the answer to a decision, beside what the MCP said of it. Coordinators of before leave both out.
ALTER TABLE "route_outcome" ADD COLUMN "audited_quality" double precision, ADD COLUMN "auditor" text COLLATE "C" NOT NULL DEFAULT '';
