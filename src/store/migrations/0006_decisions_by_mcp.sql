-- Decisions about one MCP, in the order of time: a page of an MCP that is chosen seldom is found without reading everybody's.
CREATE INDEX "route_decision_by_mcp" ON "route_decision" ("chosen", "decision_id");
