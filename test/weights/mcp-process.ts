/** An MCP in a process of its own, to be stopped by signals: argv is the target and the mcp_id. Ends with its stdin. */
import { createStreamSession } from "../../src/client/stream-session.js";

const [target = "", mcpId = ""] = process.argv.slice(2);
const session = createStreamSession({ endpoint: { target, key: undefined }, mcpId, producerId: `${mcpId}-p` });
process.stdin.resume().once("end", () => void session.close().then(() => process.exit(0)));
