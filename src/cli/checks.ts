/** Result of one check of doctor. A failed one says the one thing to do next. */
export type Check =
  | { readonly name: string; readonly kind: "passed"; readonly finding: string }
  | { readonly name: string; readonly kind: "failed"; readonly finding: string; readonly nextStep: string }
  | { readonly name: string; readonly kind: "skipped"; readonly finding: string };

/** What is known of a Postgres. `serverVersion` as `server_version_num`, for example 150004. */
export type DatabaseFinding =
  | { readonly kind: "unreachable"; readonly why: string }
  | {
      readonly kind: "reached";
      readonly serverVersion: number;
      readonly isReadOnly: boolean;
      readonly schemaVersion: number;
      readonly knownSchemaVersion: number;
    };

/** What is known of the directory of the embedded store. */
export type DataDirFinding = { readonly exists: boolean; readonly writable: boolean; readonly lockedByPid?: number };

/** What happened when an address was tried. `answers` tells whether a coordinator's web port answered there. */
export type PortFinding =
  | { readonly kind: "free" }
  | { readonly kind: "taken"; readonly byCoordinator: boolean }
  | { readonly kind: "unusable"; readonly code: string };

const postgresMin = 140_000;
const nodeMin: readonly [number, number] = [20, 19];

/** No clock that is right shows a time before this version was made. */
const clockFloorMs = Date.UTC(2026, 0, 1);
const clockCeilingMs = Date.UTC(2100, 0, 1);

export function judgeNode(version: string): Check {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const isEnough = major > nodeMin[0] || (major === nodeMin[0] && minor >= nodeMin[1]);
  const name = "node";
  if (isEnough) return { name, kind: "passed", finding: `Node ${version}` };
  return { name, kind: "failed", finding: `Node ${version} is too old`, nextStep: `install Node ${nodeMin.join(".")} or newer` };
}

export function judgeClock(nowMs: number): Check {
  const name = "clock";
  const finding = `it is ${new Date(nowMs).toISOString()}`;
  if (nowMs >= clockFloorMs && nowMs < clockCeilingMs) return { name, kind: "passed", finding };
  return {
    name,
    kind: "failed",
    finding: `${finding} by this machine`,
    nextStep: "set the clock: events of other machines would be refused as CLOCK_SKEW or TOO_OLD",
  };
}

export function judgeDatabase(found: DatabaseFinding): readonly Check[] {
  const name = "database";
  if (found.kind === "unreachable") {
    return [
      {
        name,
        kind: "failed",
        finding: `cannot be reached: ${found.why}`,
        nextStep: "check the URL, the network and the password, for example with psql",
      },
    ];
  }
  const version = `Postgres ${Math.floor(found.serverVersion / 10_000)}.${found.serverVersion % 10_000}`;
  const isOld = found.serverVersion < postgresMin;
  return [
    isOld
      ? { name, kind: "failed", finding: `${version} is too old`, nextStep: "use Postgres 14 or newer" }
      : { name, kind: "passed", finding: `reached, ${version}` },
    found.isReadOnly
      ? {
          name: "writes",
          kind: "failed",
          finding: "the database is read-only",
          nextStep: "point the URL at the primary, or end default_transaction_read_only",
        }
      : { name: "writes", kind: "passed", finding: "the database takes writes" },
    judgeSchema(found.schemaVersion, found.knownSchemaVersion),
  ];
}

function judgeSchema(version: number, known: number): Check {
  const name = "schema";
  if (version > known) {
    const finding = `the database has schema ${version}, this version knows up to ${known}`;
    return { name, kind: "failed", finding, nextStep: "run a coordinator at least as new as the one that migrated this database" };
  }
  if (version === known) return { name, kind: "passed", finding: `schema ${version} is current` };
  return { name, kind: "passed", finding: `schema ${version}; serve or \`mcp-coordinator migrate\` brings it to ${known}` };
}

/** A directory in use is as it should be when the coordinator that was asked about is running. */
export function judgeDataDir(dataDir: string, found: DataDirFinding, isCoordinatorRunning: boolean): Check {
  const name = "data directory";
  if (!found.writable) {
    const finding = `${dataDir} ${found.exists ? "cannot be written" : "does not exist and cannot be made"}`;
    return { name, kind: "failed", finding, nextStep: "give this user the right to write there, or choose another with --data-dir" };
  }
  if (found.lockedByPid !== undefined) {
    const finding = `${dataDir} is in use by process ${found.lockedByPid}`;
    if (isCoordinatorRunning) return { name, kind: "passed", finding: `${finding}, and a coordinator answers` };
    return {
      name,
      kind: "failed",
      finding,
      nextStep: "stop that process, choose another --data-dir, or use a database, which takes any number of coordinators",
    };
  }
  return { name, kind: "passed", finding: found.exists ? `${dataDir} can be written and nobody uses it` : `${dataDir} will be made` };
}

/** `flag` chooses another port. */
export function judgePort(name: string, address: string, flag: string, found: PortFinding): Check {
  switch (found.kind) {
    case "free":
      return { name, kind: "passed", finding: `${address} is free` };
    case "taken":
      if (found.byCoordinator) return { name, kind: "passed", finding: `${address} is in use, and a coordinator answers` };
      return {
        name,
        kind: "failed",
        finding: `${address} is in use by another process`,
        nextStep: `stop it, or choose another port with ${flag}`,
      };
    default:
      return { name, kind: "failed", finding: `${address} cannot be listened on: ${found.code}`, nextStep: unusableStep(found.code, flag) };
  }
}

function unusableStep(code: string, flag: string): string {
  switch (code) {
    case "EACCES":
      return `ports below 1024 need privileges: choose another with ${flag}`;
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return "the host is no address of this machine: choose another with --host";
    default:
      return `choose another address with --host and ${flag}`;
  }
}
