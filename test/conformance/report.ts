import { behaviours } from "./judge.js";
import type { Certificate } from "./run.js";

const marks = { passed: "ok", failed: "FAILED", not_offered: "-" } as const;

/** A table of behaviours by client, then what was wrong. */
export function formatCertificates(certificates: readonly Certificate[]): string {
  const names = certificates.map(({ client }) => client);
  const width = Math.max(...behaviours.map((name) => name.length), 10) + 2;
  const columns = names.map((name) => Math.max(name.length, 8) + 2);
  const row = (first: string, cells: readonly string[]) =>
    `${first.padEnd(width)}${cells.map((cell, index) => cell.padEnd(columns[index] ?? 0)).join("")}`.trimEnd();
  const lines = [row("", names)];
  behaviours.forEach((behaviour, index) => {
    lines.push(
      row(
        behaviour,
        certificates.map(({ judgements }) => marks[judgements[index]?.verdict ?? "failed"]),
      ),
    );
  });
  lines.push(
    row(
      "events",
      certificates.map(({ events }) => String(events)),
    ),
  );
  lines.push(
    row(
      "seconds",
      certificates.map(({ seconds }) => seconds.toFixed(1)),
    ),
  );
  lines.push(
    row(
      "store",
      certificates.map(({ store }) => store),
    ),
  );
  for (const { client, judgements, passed, output } of certificates) {
    if (passed) continue;
    lines.push("", `${client}:`);
    for (const { behaviour, verdict, faults } of judgements) {
      if (verdict === "failed") for (const fault of faults) lines.push(`  ${behaviour}: ${fault}`);
    }
    if (output !== "")
      lines.push(
        "  its output ended with:",
        ...output
          .trimEnd()
          .split("\n")
          .slice(-15)
          .map((line) => `    ${line}`),
      );
  }
  return `${lines.join("\n")}\n`;
}
