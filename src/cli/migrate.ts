import type { Command } from "commander";
import type { Config } from "../config/schema.js";
import { CliFailure } from "./exit-code.js";
import { examples } from "./help.js";
import { type CliContext, createOutput } from "./output.js";
import { addSettingFlags, addTalkFlags, type ParsedOptions, requireConfig } from "./setting-flags.js";

/** What a migration found and left. Versions count migrations; 0 is an empty database. */
export type Migrated = { readonly fromVersion: number; readonly toVersion: number };

export type MigrateDeps = {
  /** Brings the schema of the database up to date, under a lock that other coordinators respect. */
  readonly migrateDatabase: (databaseUrl: string) => Promise<Migrated>;
};

/** `migrate`: brings the schema of the database up to date and ends. */
export function addMigrateCommand(program: Command, context: CliContext, deps: MigrateDeps): void {
  addTalkFlags(addSettingFlags(program.command("migrate")))
    .description("bring the schema of the database up to date; serve does it too when it starts")
    .addHelpText(
      "before",
      examples([
        ["DATABASE_URL=postgres://db/mcp mcp-coordinator migrate", "before the first coordinator of a new version"],
        ["mcp-coordinator migrate --config coordinator.toml --json", "for scripts"],
      ]),
    )
    .action(async (options: ParsedOptions) => {
      const output = createOutput(context, options);
      const migrated = await deps.migrateDatabase(requireDatabase(requireConfig(context, output, options)));
      if (output.isJson) output.json(migrated);
      else output.data(describeMigrated(migrated));
    });
}

function requireDatabase(config: Config): string {
  if (config.store.databaseUrl !== undefined) return config.store.databaseUrl;
  throw new CliFailure(
    "usage",
    "no database is given; the embedded store is migrated by serve when it opens it. Set DATABASE_URL, or --database-url",
  );
}

function describeMigrated({ fromVersion, toVersion }: Migrated): string {
  return fromVersion === toVersion ? `schema ${toVersion} is current; nothing to do` : `schema brought from ${fromVersion} to ${toVersion}`;
}
