import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const page = readFileSync("docs/transport.md", "utf8");
const pitfallCount = 25;

type Claim = { readonly row: number; readonly file: string; readonly name: string };

/** The cells of a table's line. */
const cellsOf = (line: string): readonly string[] => line.split(" | ").map((cell) => cell.replace(/^\| | \|$/g, "").trim());

/** Rows of the list, and the tests that each names: a file, then names that belong to it until the next file. */
function readRows(): readonly { readonly row: number; readonly heldBy: string; readonly claims: readonly Claim[] }[] {
  const lines = page.split("\n").filter((line) => /^\| \d+ \|/.test(line));
  return lines.map((line) => {
    const cells = cellsOf(line);
    const row = Number(cells[0]);
    const heldBy = cells.at(-1) ?? "";
    const claims: Claim[] = [];
    let file = "";
    for (const [, path, name] of heldBy.matchAll(/`(test\/[^`]+)`|"([^"]+)"/g)) {
      if (path !== undefined) file = path;
      else if (name !== undefined) claims.push({ row, file, name });
    }
    return { row, heldBy, claims };
  });
}

test("every pitfall has a row, which names a test or says why there can be none", () => {
  const rows = readRows();
  expect(rows.map(({ row }) => row)).toEqual(Array.from({ length: pitfallCount }, (_, i) => i + 1));
  expect(rows.filter(({ claims, heldBy }) => claims.length === 0 && !heldBy.startsWith("none: ")).map(({ row }) => row)).toEqual([]);
});

test("the tests that the page names exist, under these names", () => {
  const claims = readRows().flatMap((row) => row.claims);
  expect(claims.length).toBeGreaterThanOrEqual(pitfallCount);
  const missing = claims.filter(
    ({ file, name }) => !new RegExp(`\\b(?:it|test|story)\\(\\s*"${escaped(name)}"`).test(readFileSync(file, "utf8")),
  );
  expect(missing).toEqual([]);
});

test("the settings that the page promises are those of the code", () => {
  const client = readFileSync("src/client/connect.ts", "utf8");
  const server = readFileSync("src/rpc/server-grpc.ts", "utf8");
  const web = readFileSync("src/rpc/server-web.ts", "utf8");
  expect(client).toContain('"grpc.enable_retries": 0');
  expect(client).toContain('"grpc.keepalive_time_ms": 60_000');
  expect(client).toContain('"grpc-node.flow_control_window": limits.http2StreamWindowBytes');
  expect(server).toContain('"grpc.enable_channelz": 0');
  expect(server).toContain('"grpc.keepalive_time_ms": limits.keepaliveTimeMs');
  expect(server).toContain('"grpc.max_receive_message_length": limits.frameMaxBytes');
  expect(web).toContain("readMaxBytes: limits.frameMaxBytes");
});

const escaped = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
