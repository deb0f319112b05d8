-- Decisions under one policy, in the order of time: a page of a policy that decides seldom, or did long ago, is found without reading everybody's.
CREATE INDEX "route_decision_by_policy" ON "route_decision" ("policy_id", "decision_id");
