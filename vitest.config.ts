import { defineConfig } from "vitest/config";

/**
 * Nobody waits for these but a test that fails: a machine that is ten times slower than ours must not be one. Without `expect`, a poll gives up after a second. Unit: ms.
 */
const patience = { testTimeout: 300_000, hookTimeout: 300_000, expect: { poll: { timeout: 60_000 } } } as const;

/** Two projects: unit tests share a process pool; stories start servers and run one file after another, because there are two cores to share. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts", "test/house.test.ts"],
          ...patience,
        },
      },
      {
        test: {
          name: "story",
          include: ["test/story/**/*.test.ts", "test/regress/**/*.test.ts"],
          ...patience,
          fileParallelism: false,
        },
      },
    ],
  },
});
