import { channel } from "node:diagnostics_channel";
import type { SessionDeps } from "../hub/surroundings.js";

/** Every step of every session, as `{ before, event, step }` of hub/session.ts, for whoever subscribed before the coordinator started (`node --import`). */
const stepChannel = channel("mcp-coordinator.session.step");

/** Publishes steps when somebody listens; otherwise sessions have no observer, and a step costs what it did. Subscribers must not throw. */
export function stepObserver(): Pick<SessionDeps, "stepped"> {
  if (!stepChannel.hasSubscribers) return {};
  return { stepped: (before, event, step) => stepChannel.publish({ before, event, step }) };
}
