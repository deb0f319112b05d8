import { expect, test } from "vitest";
import { renderConfigDocs } from "../../../src/config/docs.js";
import { loadConfig } from "../../../src/config/load.js";
import { settings } from "../../../src/config/settings.js";

test("docs/config.md says what the schema says; after a change, run vitest with -u", async () => {
  await expect(renderConfigDocs()).toMatchFileSnapshot("../../../docs/config.md");
});

test("every setting has a meaning and a reason in it, and the examples in it load together", () => {
  const text = renderConfigDocs();
  for (const setting of settings) {
    const row = text.split("\n").find((line) => line.includes(setting.env ?? `| \`${setting.key}\` |`));
    expect(row).toContain(setting.doc);
    expect(row).toContain(setting.reason);
  }
  const examples = [...text.matchAll(/```toml\n([\s\S]*?)```/g)].map(([, example]) => example ?? "");
  const fileText = examples.join("\n").replace("<64 hex digits>", "0".repeat(64));
  expect(loadConfig({ readSecretFile: () => undefined, defaultCoordinatorId: "c" }, { fileText, env: {}, flags: {} })).toMatchObject({
    kind: "loaded",
    config: { routing: { objectives: { ocr: 800 } }, auth: { keys: [{ id: "ocr-2027" }] } },
  });
});
