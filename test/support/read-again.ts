import { writeFile } from "node:fs/promises";
import { expect } from "vitest";
import type { RunningCoordinator } from "./coordinator.js";

/** Every reading of a configuration in which only keys or objectives change ends with one of these. Lines of sessions may stand between them and say nothing of it. */
const readings = /other keys are in force|other latency objectives are in force|no setting that may change|is faulty: nothing changes/g;

/** Environment of a coordinator that reads its file at SIGHUP only, so that each reading is one that was asked for. */
export const unwatched = { MCPC_SERVER__WATCH_CONFIG: "false" };

/** Writes `config` to the coordinator's file, lets it read that again, and waits until it has. */
export async function readAgain(coordinator: RunningCoordinator, file: string, config: string): Promise<void> {
  const count = () => coordinator.log().match(readings)?.length ?? 0;
  const before = count();
  await writeFile(file, config);
  coordinator.signal("SIGHUP");
  await expect.poll(count, { timeout: 30_000 }).toBeGreaterThan(before);
}
