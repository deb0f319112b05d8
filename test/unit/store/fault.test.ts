import { describe, expect, it } from "vitest";
import { CoordinatorError } from "../../../src/platform/errors.js";
import { faultOf, isConnectionSpent } from "../../../src/store/fault.js";
import { StoreFault, type StoreFaultKind } from "../../../src/store/store.js";

const coded = (code: string, message = "text"): Error => Object.assign(new Error(message), { code });

describe("faultOf", () => {
  it.each<[string, StoreFaultKind, boolean]>([
    ["22P05", "poison", false],
    ["22021", "poison", false],
    ["22003", "poison", false],
    ["23514", "poison", false],
    ["23505", "poison", false],
    ["54000", "poison", false],
    ["40001", "transient", false],
    ["40P01", "transient", false],
    ["55P03", "transient", false],
    ["57014", "transient", false],
    ["26000", "transient", false],
    ["25P03", "transient", true],
    ["08006", "outage", true],
    ["57P01", "outage", true],
    ["57P03", "outage", true],
    ["25006", "outage", true],
    ["53100", "outage", false],
    ["53300", "outage", false],
    ["42P01", "outage", false],
    ["XX000", "outage", false],
    ["28P01", "outage", false],
    ["ECONNREFUSED", "outage", true],
    ["EPIPE", "outage", true],
    ["CONNECTION_CLOSED", "outage", true],
    ["CONNECT_TIMEOUT", "outage", true],
    ["CERT_HAS_EXPIRED", "outage", true],
  ])("takes %s for %s", (code, kind, isSpent) => {
    const fault = faultOf(coded(code));
    expect(fault).toMatchObject({ kind, code, message: "text" });
    expect(fault instanceof StoreFault && isConnectionSpent(fault)).toBe(isSpent);
  });

  it("looks through what wraps the driver's error", () => {
    expect(faultOf(new Error("Failed query: select", { cause: coded("40001", "inner") }))).toMatchObject({
      kind: "transient",
      message: "inner",
    });
    expect(faultOf(new AggregateError([coded("ECONNREFUSED"), coded("ENETUNREACH")]))).toMatchObject({
      kind: "outage",
      code: "ECONNREFUSED",
    });
  });

  it("names the code when the error says nothing else", () => {
    expect(faultOf(coded("ECONNRESET", ""))).toMatchObject({ message: "ECONNRESET" });
  });

  it("leaves bugs of ours and its own faults as they are", () => {
    const fault = new StoreFault("outage", "WATCHDOG", "late");
    const refusal = new CoordinatorError("failed_precondition", "no", { reason: "STORE_READ_ONLY" });
    for (const thrown of [
      refusal,
      new TypeError("x is undefined"),
      coded("UNDEFINED_VALUE"),
      coded("ERR_INVALID_ARG_TYPE"),
      "text",
      undefined,
      fault,
    ]) {
      expect(faultOf(thrown)).toBe(thrown);
    }
  });
});
