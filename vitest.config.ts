import { defineConfig } from "vitest/config";

/** Two projects: unit tests share a process pool; stories start servers and run one file after another, because there are two cores to share. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts", "test/house.test.ts"],
          testTimeout: 30_000,
        },
      },
      {
        test: {
          name: "story",
          include: ["test/story/**/*.test.ts", "test/regress/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
