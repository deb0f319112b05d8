import { type FileMark, markNow, watchFile } from "../config/file-watch.js";
import type { LoadedConfig } from "../config/load.js";
import { describeRemark } from "../config/place.js";
import { nameFile } from "../config/read.js";
import type { Config } from "../config/schema.js";
import type { Clock } from "../platform/clock.js";
import { limits } from "../platform/limits.js";
import type { Logger } from "../platform/log.js";
import type { CliContext } from "./output.js";
import { loadFor, type ParsedOptions } from "./setting-flags.js";

/** The file of a configuration, and what was in it when that was read; undefined without a file, and for one that comes through a pipe. */
export type ConfigFile = { readonly path: string; readonly mark: FileMark };

export type ReloadDeps = {
  readonly context: CliContext;
  readonly options: ParsedOptions;
  readonly clock: Clock;
  readonly log: Logger;
  readonly reconfigure: (config: Config) => void;
};

/** Where a configuration is read from again. */
export type Reload = {
  /** At once, from the same places. A faulty configuration changes nothing, and its faults are logged. */
  readonly now: () => void;
  readonly close: () => void;
};

/** To be asked before the configuration is read, so that no change after that goes unseen. */
export function findConfigFile(context: CliContext, options: ParsedOptions): ConfigFile | undefined {
  const named = nameFile({ env: context.env, configFlag: typeof options.config === "string" ? options.config : undefined });
  const mark = named === undefined ? undefined : markNow(named.path);
  return named === undefined || mark === undefined ? undefined : { path: named.path, mark };
}

/** Reads the configuration again when it is told to, and, with a `file` to watch, when that has changed. */
export function createReload(deps: ReloadDeps, file: ConfigFile | undefined): Reload {
  const { context, options, clock, log } = deps;
  const take = (loaded: LoadedConfig): void => {
    if (loaded.kind === "loaded") deps.reconfigure(loaded.config);
    else {
      const faults = loaded.faults.slice(0, limits.violationMaxCount).map(describeRemark);
      log.error({ faults, faultCount: loaded.faultCount }, "the configuration was read again and is faulty: nothing changes");
    }
  };
  const read = (): LoadedConfig => loadFor(context, options);
  if (file === undefined) return { now: () => take(read()), close: () => {} };
  const { path } = file;
  const watch = watchFile({
    ...{ clock, path, everyMs: limits.configLookMs, settleMs: limits.configSettleMs, taken: file.mark, read },
    take: (loaded) => {
      log.info({ path }, "the configuration file has changed");
      take(loaded);
    },
  });
  const now = (): void => {
    // Before it is read: what changes after that is seen by the watch.
    const mark = markNow(path);
    take(read());
    if (mark !== undefined) watch.skip(mark);
  };
  return { now, close: watch.close };
}
