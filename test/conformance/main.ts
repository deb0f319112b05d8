/** Certifies one client: `tsx test/conformance/main.ts [--json] [--without a,b] [--scenario FILE] -- <command of the client>`. Exit code 0: passed. */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Behaviour, behaviours } from "./judge.js";
import { formatCertificates } from "./report.js";
import { certify } from "./run.js";
import { readScenario } from "./scenario.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    name: { type: "string", default: "client" },
    without: { type: "string", default: "" },
    record: { type: "string" },
    embedded: { type: "boolean", default: false },
    scenario: { type: "string", default: fileURLToPath(new URL("scenario.json", import.meta.url)) },
  },
});
const [program, ...args] = positionals;
const without = new Set(values.without.split(",").filter((name) => name !== ""));
const unknown = [...without].filter((name) => !behaviours.some((behaviour) => behaviour === name));
if (program === undefined || unknown.length > 0) {
  process.stderr.write(
    `usage: main.ts [--json] [--name NAME] [--without BEHAVIOUR,…] [--scenario FILE] [--record FILE] [--embedded] -- PROGRAM ARGUMENTS…\nbehaviours: ${behaviours.join(", ")}\n`,
  );
  process.exitCode = 2;
} else {
  const candidate = {
    name: values.name,
    command: [program, ...args] as const,
    without: new Set([...without] as Behaviour[]),
    recordPath: values.record,
  }; // unknown ones are refused above
  const certificate = await certify(candidate, readScenario(values.scenario), { isEmbedded: values.embedded });
  process.stdout.write(values.json ? `${JSON.stringify(certificate, null, 2)}\n` : formatCertificates([certificate]));
  process.exitCode = certificate.passed ? 0 : 1;
}
