import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CoordinatorError } from "../../src/platform/errors.js";
import { examineDatabase, examineDataDir } from "../../src/store/examine.js";
import { migrateDatabase } from "../../src/store/migrate.js";
import { openStore } from "../../src/store/open.js";
import { knownSchemaVersion } from "../../src/store/schema-version.js";
import type { Store } from "../../src/store/store.js";
import { newEvent } from "../support/new-event.js";
import { storeOptions, workerUrl } from "../support/open-store.js";
import { postgresSkipReason, type RunningPostgres, startPostgres } from "../support/postgres.js";

const { version: known } = knownSchemaVersion();

async function refusalOf(call: Promise<unknown>): Promise<CoordinatorError> {
  const thrown: unknown = await call.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(thrown instanceof CoordinatorError)) throw new Error("no refusal", { cause: thrown });
  return thrown;
}

describe("opening the embedded store", () => {
  const root = mkdtempSync(join(tmpdir(), "mcpc-open-"));
  const dataDir = join(root, "data");
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  const open = (more: object = {}) => openStore(storeOptions({ dataDir, ...more }));

  it("makes a private directory, is refused to a second opener while the first lives, and opens again after it", async () => {
    const store = await open();
    expect(statSync(dataDir).mode & 0o777).toBe(0o700);
    expect(statSync(join(dataDir, "database.sock")).mode & 0o777).toBe(0o600);
    const refusal = await refusalOf(open());
    expect(refusal).toMatchObject({ code: "failed_precondition" });
    expect(refusal.message).toContain(`in use by process ${process.pid}`);
    expect(await examineDataDir(dataDir)).toEqual({ exists: true, writable: true, lockedByPid: process.pid });
    await store.ping();
    await store.close();
    expect(existsSync(join(dataDir, "lock"))).toBe(false);
    expect(await examineDataDir(dataDir)).toEqual({ exists: true, writable: true });
    const again = await open();
    await again.close();
  });

  it("takes over a lock and a socket that a dead process left", async () => {
    writeFileSync(
      join(dataDir, "lock"),
      JSON.stringify({ pid: process.pid, host: hostname(), startedAt: "an earlier boot 1", socketPath: "/nonexistent" }),
    );
    writeFileSync(join(dataDir, "database.sock"), "");
    const store = await open();
    expect(JSON.parse(readFileSync(join(dataDir, "lock"), "utf8"))).toMatchObject({
      pid: process.pid,
      socketPath: join(dataDir, "database.sock"),
    });
    await store.close();
  });

  it("does not take a lock from another machine's process as long as its database answers", async () => {
    const store = await open();
    const lock = join(dataDir, "lock");
    const held = readFileSync(lock, "utf8");
    writeFileSync(lock, JSON.stringify({ ...JSON.parse(held), host: "another-container", pid: 1, startedAt: "x" }));
    expect((await refusalOf(open())).message).toContain("on another-container");
    writeFileSync(lock, held);
    await store.close();
  });

  it("survives kill -9 at any moment, the first start included, with everything that was acknowledged", async () => {
    const killedDir = join(root, "killed");
    const acked = new Set<string>();
    const script = fileURLToPath(new URL("../support/embedded-writer.ts", import.meta.url));
    // The first is killed while the database is made, the others after some hundred acknowledged events.
    for (const untilCount of [0, 300, 700]) {
      const writer = spawn(process.execPath, ["--import", "tsx", script, killedDir], { stdio: ["ignore", "pipe", "inherit"] });
      let rest = "";
      writer.stdout.on("data", (bytes: Buffer) => {
        const lines = (rest + bytes.toString()).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) acked.add(line);
      });
      const started = Date.now();
      while (untilCount === 0 ? !existsSync(join(killedDir, "database.unfinished", "PG_VERSION")) : acked.size < untilCount) {
        if (Date.now() - started > 240_000) throw new Error("the writer acknowledges nothing");
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      writer.kill("SIGKILL");
      await once(writer, "close");
    }
    const store = await open({ dataDir: killedDir });
    const ids = [...acked];
    const found = new Set<string>();
    for (let start = 0; start < ids.length; start += 500) {
      for (const row of await store.findEvents("mcp", ids.slice(start, start + 500))) found.add(row.eventId);
    }
    expect(ids.filter((id) => !found.has(id))).toEqual([]);
    expect(ids.length).toBeGreaterThan(699);
    await store.close();
  });

  it("works where the path of the directory is too long for a socket", async () => {
    const long = join(root, "d".repeat(60), "e".repeat(60));
    const store = await open({ dataDir: long });
    await store.append(0, [newEvent()]);
    const { socketPath } = JSON.parse(readFileSync(join(long, "lock"), "utf8")) as { socketPath: string };
    expect(Buffer.byteLength(socketPath)).toBeLessThan(104);
    await store.close();
    expect(existsSync(socketPath)).toBe(false);
  });

  it("says so when the directory is a file, or below one", async () => {
    const file = join(root, "file");
    writeFileSync(file, "");
    for (const path of [file, join(file, "below")]) {
      const refusal = await refusalOf(open({ dataDir: path }));
      expect(refusal).toMatchObject({ code: "failed_precondition" });
      expect(refusal.message).toMatch(/it is a file|a part of the path is a file/);
    }
  });

  it("says so when this user may not write there", async () => {
    const isRoot = process.getuid?.() === 0;
    const closed = join(root, "closed");
    mkdirSync(closed);
    chmodSync(closed, 0o500);
    // Root may write everywhere but into the kernel's own tree.
    const refusal = await refusalOf(open({ dataDir: isRoot ? "/sys/mcp-coordinator" : closed }));
    expect(refusal.message).toMatch(/may not write there|file system is read-only/);
    if (!isRoot) expect(await examineDataDir(join(closed, "below"))).toEqual({ exists: false, writable: false });
  });

  it("says why a database that is damaged does not start, and frees the directory", async () => {
    const damaged = join(root, "damaged");
    mkdirSync(join(damaged, "database"), { recursive: true });
    writeFileSync(join(damaged, "database", "PG_VERSION"), "9\n");
    const refusal = await refusalOf(open({ dataDir: damaged }));
    expect(refusal).toMatchObject({ code: "unavailable" });
    expect(existsSync(join(damaged, "lock"))).toBe(false);
  });

  it("is an outage once its thread has died, and tells", async () => {
    // A thread that serves, and dies when it is told.
    const dying = join(root, "dying-worker.mjs");
    writeFileSync(
      dying,
      `import { existsSync, watchFile } from "node:fs";
       await import(${JSON.stringify(workerUrl.href)});
       watchFile(${JSON.stringify(join(root, "die"))}, { interval: 20 }, () => { if (existsSync(${JSON.stringify(join(root, "die"))})) throw new Error("died in a test"); });`,
    );
    let told: Error | undefined;
    const store = await open({ workerUrl: new URL(`file://${dying}`), onFatal: (error: Error) => (told = error) });
    await store.append(0, [newEvent()]);
    writeFileSync(join(root, "die"), "");
    const untilMs = Date.now() + 60_000;
    while (told === undefined && Date.now() < untilMs) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(told?.message).toContain("died in a test");
    await expect(store.append(0, [newEvent()])).rejects.toMatchObject({ kind: "outage" });
    await store.close();
  });
});

describe.runIf(postgresSkipReason() === undefined)("opening a Postgres store", () => {
  let server: RunningPostgres;
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]();
  });
  const open = (databaseUrl: string) => openStore(storeOptions({ databaseUrl }));

  it("coordinators that start together on an empty database all come up, with one schema", async () => {
    const url = await server.createDatabase("together");
    const stores = await Promise.all([open(url), open(url), open(url)]);
    const keys = await Promise.all(stores.map((store) => store.instanceKey()));
    expect(new Set(keys).size).toBe(1);
    await Promise.all(stores.map((store) => store.close()));
  });

  it("migrates once, and tells from where to where", async () => {
    const url = await server.createDatabase("migrated");
    expect(await examineDatabase(url)).toMatchObject({ schemaVersion: 0, knownSchemaVersion: known, isReadOnly: false });
    expect(await migrateDatabase(url)).toEqual({ fromVersion: 0, toVersion: known });
    expect(await migrateDatabase(url)).toEqual({ fromVersion: known, toVersion: known });
    expect(await examineDatabase(url)).toMatchObject({ schemaVersion: known, serverVersion: expect.any(Number) });
  });

  it("refuses a database that a newer version has migrated", async () => {
    const url = await server.createDatabase("newer");
    await migrateDatabase(url);
    const sql = postgres(url, { max: 1 });
    await sql`INSERT INTO coordinator_migration (hash, created_at) VALUES ('x', 9999999999999)`;
    await sql.end();
    const refusal = await refusalOf(open(url));
    expect(refusal).toMatchObject({ code: "failed_precondition" });
    expect(refusal.message).toContain(`has schema ${known + 1}, this version knows up to ${known}`);
  });

  it("shares a database by schema: each search_path has tables and a record of its own, whatever records others keep", async () => {
    const url = await server.createDatabase("shared");
    const admin = postgres(url, { max: 1, onnotice: () => {} });
    // As another program that uses Drizzle leaves it.
    await admin`CREATE SCHEMA drizzle`;
    await admin`CREATE TABLE drizzle.__drizzle_migrations (id serial PRIMARY KEY, hash text NOT NULL, created_at bigint)`;
    await admin`INSERT INTO drizzle.__drizzle_migrations (hash, created_at) VALUES ('theirs', 9999999999999)`;
    for (const name of ["blue", "green"]) {
      await admin.unsafe(`CREATE ROLE ${name} LOGIN; CREATE SCHEMA ${name} AUTHORIZATION ${name}`);
      // The owner of a schema, with no right on the database and none on `drizzle`.
      const own = url.replace("postgres@", `${name}@`);
      expect(await migrateDatabase(own), name).toEqual({ fromVersion: 0, toVersion: known });
      await using store = closing(await open(own));
      await store.append(0, [newEvent({ mcpId: name, interactionId: name })]);
      expect(await store.countInteractions(undefined), name).toMatchObject({ total: 1 });
    }
    await admin.end();
  });

  it("goes on with a database whose record Drizzle's migrator has kept", async () => {
    const url = await server.createDatabase("before");
    await migrateDatabase(url);
    const admin = postgres(url, { max: 1, onnotice: () => {} });
    await admin.unsafe(
      "CREATE SCHEMA drizzle; ALTER TABLE coordinator_migration SET SCHEMA drizzle; ALTER TABLE drizzle.coordinator_migration RENAME TO __drizzle_migrations",
    );
    await admin.end();
    expect(await migrateDatabase(url)).toEqual({ fromVersion: known, toVersion: known });
    expect(await examineDatabase(url)).toMatchObject({ schemaVersion: known });
  });

  it("says so when the user's search_path leads to no schema", async () => {
    const url = await server.createDatabase("pathless");
    const admin = postgres(url, { max: 1, onnotice: () => {} });
    await admin`ALTER DATABASE pathless SET search_path = missing`;
    await admin.end();
    const refusal = await refusalOf(migrateDatabase(url));
    expect(refusal).toMatchObject({ code: "failed_precondition" });
    expect(refusal.message).toContain("search_path");
  });

  it("refuses a database behind a pooler that drops the settings of sessions", async () => {
    await using pooler = await startDroppingPooler(server.port);
    const refusal = await refusalOf(open(`postgres://postgres@127.0.0.1:${pooler.port}/postgres`));
    expect(refusal).toMatchObject({ code: "failed_precondition" });
    expect(refusal.message).toContain("without a connection pooler");
  });

  it("refuses a read-only database", async () => {
    const url = await server.createDatabase("readonly");
    const sql = postgres(url, { max: 1 });
    await sql`ALTER DATABASE readonly SET default_transaction_read_only = on`;
    await sql.end();
    expect(await refusalOf(open(url))).toMatchObject({ code: "failed_precondition", reason: "STORE_READ_ONLY" });
    expect(await examineDatabase(url)).toMatchObject({ isReadOnly: true });
  });

  it("acknowledges only what is on disk, even where the database says otherwise", async () => {
    const url = await server.createDatabase("careless");
    const sql = postgres(url, { max: 1 });
    await sql`ALTER DATABASE careless SET synchronous_commit = off`;
    const store = await open(url);
    await store.append(0, [newEvent()]);
    const [lsn] = await sql`SELECT pg_current_wal_insert_lsn() <= pg_current_wal_flush_lsn() AS flushed`;
    expect(lsn).toEqual({ flushed: true });
    await sql.end();
    await store.close();
  });

  it.each([
    ["a port where nobody listens", "postgres://ann:s3cret@127.0.0.1:1/x", "unavailable", "no database server listens at 127.0.0.1:1/x"],
    ["a host that does not exist", "postgres://ann:s3cret@db.invalid/x", "unavailable", "host name"],
    ["a URL of something else", "mysql://ann:s3cret@127.0.0.1/x", "invalid", "must look like"],
    ["no URL", "ann:s3cret", "invalid", "must look like"],
    ["a bad port", "postgres://ann:s3cret@h:99999999/x", "invalid", "must look like"],
  ])("says what is wrong with %s, and never the password", async (_, url, code, text) => {
    const refusal = await refusalOf(open(url));
    expect(refusal).toMatchObject({ code });
    expect(refusal.message).toContain(text);
    expect(`${refusal.message} ${refusal.stack} ${JSON.stringify(refusal)} ${String(refusal.cause)}`).not.toContain("s3cret");
  });

  it("says that a database or a user does not exist", async () => {
    expect((await refusalOf(open(server.url.replace(/postgres$/, "nowhere")))).message).toContain("does not exist; create it first");
    expect((await refusalOf(open(server.url.replace("postgres@", "nobody:s3cret@")))).message).toContain("refuses this user or password");
  });
});

/** Passes everything on but what a startup packet says besides user and database, as PgBouncer does with `ignore_startup_parameters`. */
async function startDroppingPooler(serverPort: number): Promise<AsyncDisposable & { readonly port: number }> {
  const pooler = createServer((client) => {
    const upstream = connect(serverPort, "127.0.0.1");
    client.once("data", (packet: Buffer) => {
      // Source: PostgreSQL manual, 55.7, StartupMessage: length, version, then names and values, each ended by a zero byte.
      const words = packet.subarray(8, -1).toString().split("\0");
      const kept = words.flatMap((word, i) => (i % 2 === 0 && ["user", "database"].includes(word) ? [word, words[i + 1] ?? ""] : []));
      const body = Buffer.from(`${kept.join("\0")}\0\0`);
      const head = Buffer.from(packet.subarray(0, 8));
      head.writeUInt32BE(8 + body.length);
      upstream.write(Buffer.concat([head, body]));
      client.pipe(upstream).pipe(client);
    });
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      one.on("error", () => other.destroy());
      one.on("close", () => other.destroy());
    }
  });
  pooler.listen(0, "127.0.0.1");
  await once(pooler, "listening");
  const address = pooler.address();
  if (address === null || typeof address === "string") throw new Error("a TCP server has a port");
  return {
    port: address.port,
    [Symbol.asyncDispose]: async () => {
      pooler.close();
      await once(pooler, "close");
    },
  };
}

/** A store that ends with its block. */
function closing(store: Store): Store & AsyncDisposable {
  return { ...store, [Symbol.asyncDispose]: () => store.close() };
}
