import type { Output, TextSink } from "./output.js";
import type { FleetFigures, McpFigures } from "./simulated-fleet.js";

/** Shows the fleet: redrawn in place on a terminal, a plain line now and then elsewhere. */
export type DemoView = { readonly show: (figures: FleetFigures) => void; readonly close: () => void };

/** What the view says besides the figures. */
export type DemoTitle = { readonly grpc: string; readonly web: string | undefined; readonly storePromise: string };

const barWidth = 24;
const columnsDefault = 80;
const lineEveryMs = 5_000;
const weightSum = 10_000;
/** What begins the code of a colour. */
const codeStart = "\u001b[";
const hideCursor = "\u001b[?25l";
const showCursor = "\u001b[?25h";

export function createDemoView(sink: TextSink, output: Output, title: DemoTitle): DemoView {
  return sink.isTTY === true ? liveView(sink, output, title) : plainView(sink);
}

function liveView(sink: TextSink, output: Output, title: DemoTitle): DemoView {
  let drawnLines = 0;
  sink.write(`${titleLines(title, output).join("\n")}\n\n${hideCursor}`);
  return {
    show: (figures) => {
      // A line that the terminal wraps would be two, and the next picture would begin too low.
      const columns = (sink.columns ?? columnsDefault) - 1;
      const lines = viewLines(figures, output).map((line) => cutLine(line, columns));
      // Back to the first line of the last picture, then each line anew: what the terminal held before stays above.
      sink.write(`${drawnLines > 0 ? `\u001b[${drawnLines}A` : ""}${lines.map((line) => `\r\u001b[K${line}\n`).join("")}`);
      drawnLines = lines.length;
    },
    close: () => {
      sink.write(showCursor);
    },
  };
}

function plainView(sink: TextSink): DemoView {
  let nextAtMs = 0;
  return {
    show: (figures) => {
      if (figures.elapsedMs < nextAtMs) return;
      nextAtMs = figures.elapsedMs + lineEveryMs;
      sink.write(`${plainLine(figures)}\n`);
    },
    close: () => undefined,
  };
}

/** What stands above the picture and is written once: lines to copy, as long as they are. */
export function titleLines(title: DemoTitle, output: Pick<Output, "paint">): string[] {
  return [
    output.paint("faint", title.storePromise),
    `try: grpcurl -plaintext -d '{"include_applied":true}' ${title.grpc} mcp.coordinator.v1.RoutingService/GetRoutes`,
    ...(title.web === undefined ? [] : [`     curl ${title.web}/health`]),
    output.paint("faint", "Ctrl-C drains and ends"),
  ];
}

/** The live picture, line by line. */
export function viewLines(figures: FleetFigures, output: Pick<Output, "paint">): string[] {
  const { paint } = output;
  const { totals } = figures;
  const table =
    figures.routesVersion === undefined ? "no table yet: equal weights" : `table ${figures.routesVersion} (${figures.routesReason})`;
  return [
    `${(figures.elapsedMs / 1000).toFixed(0).padStart(4)} s   ${table}`,
    "",
    paint("faint", `${"MCP".padEnd(14)}${"weight".padEnd(barWidth + 9)}${"req/s".padStart(7)}${"errors".padStart(8)}`),
    ...figures.mcps.map((mcp) => mcpLine(mcp, paint)),
    "",
    `acks ${Math.round(figures.acksPerSecond)}/s   p50 ${figures.ackP50Ms.toFixed(1)} ms   p99 ${figures.ackP99Ms.toFixed(1)} ms   stored ${totals.stored}   waiting ${totals.unresolved}   reconnects ${totals.reconnects}`,
  ];
}

/** The first `columns` characters of a line. Colours take no room, and none of them is cut off. */
export function cutLine(line: string, columns: number): string {
  let room = columns;
  const [plain = "", ...painted] = line.split(codeStart);
  const cut = (text: string): string => {
    const shown = text.slice(0, room);
    room -= shown.length;
    return shown;
  };
  return [
    cut(plain),
    ...painted.map((part) => {
      const codeEnd = part.indexOf("m") + 1;
      return `${codeStart}${part.slice(0, codeEnd)}${cut(part.slice(codeEnd))}`;
    }),
  ].join("");
}

/** The same on one line, for logs and pipes. */
export function plainLine(figures: FleetFigures): string {
  const mcps = figures.mcps.map(
    (mcp) => `${mcp.mcpId} ${percent(mcp.weight)} ${mcp.requestsPerSecond.toFixed(0)}/s err ${(mcp.errorShare * 100).toFixed(0)}%`,
  );
  const acks = `acks ${Math.round(figures.acksPerSecond)}/s p50 ${figures.ackP50Ms.toFixed(1)} ms p99 ${figures.ackP99Ms.toFixed(1)} ms`;
  return [`${(figures.elapsedMs / 1000).toFixed(0)} s`, acks, `table ${figures.routesVersion ?? "none"}`, ...mcps].join(" | ");
}

function mcpLine(mcp: McpFigures, paint: Output["paint"]): string {
  const filled = Math.round(((mcp.weight ?? 0) / weightSum) * barWidth);
  const bar = `${"█".repeat(filled)}${"░".repeat(barWidth - filled)}`;
  const colour = mcp.state !== "active" ? "red" : mcp.isWarming ? "yellow" : "green";
  const errors = `${(mcp.errorShare * 100).toFixed(1)}%`.padStart(8);
  const words = [mcp.trait, mcp.isWarming ? "warming" : "", mcp.state === "active" ? "" : mcp.state]
    .filter((word) => word !== "")
    .join(", ");
  const share = percent(mcp.weight).padStart(7);
  return `${mcp.mcpId.padEnd(14)}${paint(colour, bar)} ${share} ${mcp.requestsPerSecond.toFixed(1).padStart(7)}${mcp.errorShare > 0.1 ? paint("red", errors) : errors}   ${paint("faint", words)}`;
}

function percent(weight: number | undefined): string {
  return weight === undefined ? "-" : `${(weight / 100).toFixed(1)}%`;
}
