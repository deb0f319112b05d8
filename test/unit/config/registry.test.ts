import { expect, it } from "vitest";
import { settingOf } from "../../../src/config/settings.js";

it.each(["", "*", "^1.2.0", "1.x || >=3.0.0 <4"])("registry.accepted_versions may be %j", (range) =>
  expect(settingOf("registry.acceptedVersions").check(range)).toBeUndefined(),
);

it.each(["newest", "1.2.3.4", ">>1", 1])("registry.accepted_versions may not be %j", (range) =>
  expect(settingOf("registry.acceptedVersions").check(range)).toBe('must be a range of versions, for example "^1.2.0 || 3.x", or empty'),
);

it("registry.health_check_addresses is one of four words", () => {
  const { check } = settingOf("registry.healthCheckAddresses");
  expect(["none", "public", "private", "any"].map(check)).toEqual([undefined, undefined, undefined, undefined]);
  expect(check("all")).toBe('must be "none", "public", "private" or "any"');
});
