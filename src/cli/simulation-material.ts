import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Material } from "../simulate/scenario.js";

/** What simulated runs may use of this machine: data files of `dataDir`, where they are, and its clock for what code costs. */
export function materialFrom(dataDir: string, scale: number): Material {
  const texts = new Map<string, string | undefined>();
  return {
    text: (name) => {
      if (!texts.has(name)) {
        const path = join(dataDir, name);
        texts.set(name, existsSync(path) ? readFileSync(path, "utf8") : undefined);
      }
      return texts.get(name);
    },
    monotonicMs: () => performance.now(),
    scale,
  };
}
