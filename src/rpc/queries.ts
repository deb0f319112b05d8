import type { DescMethod } from "@bufbuild/protobuf";
import { InteractionService } from "../../gen/mcp/coordinator/v1/interaction_service_pb.js";
import { QueryService } from "../../gen/mcp/coordinator/v1/query_service_pb.js";
import { RegistryService } from "../../gen/mcp/coordinator/v1/registry_service_pb.js";
import { RoutingService } from "../../gen/mcp/coordinator/v1/routing_service_pb.js";

/** Reads whose answers can be megabytes. What brings events, picks an MCP or says that one lives is none: fleets call those a hundred at once. */
const queries: ReadonlySet<DescMethod> = new Set<DescMethod>([
  ...QueryService.methods,
  InteractionService.method.getInteraction,
  RegistryService.method.listMcps,
  RoutingService.method.getRoutes,
  RoutingService.method.listDecisions,
  RoutingService.method.explainDecision,
  RoutingService.method.getRoutingConfig,
]);

export const isQuery = (method: DescMethod): boolean => queries.has(method);
