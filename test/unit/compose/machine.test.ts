import { expect, test } from "vitest";
import { Ends, Once } from "../../../src/compose/machine.js";

test.each(["before", "after"])("what happens once is heard once, when the listener comes %s it", (order) => {
  const end = new Once<string>();
  const heard: string[] = [];
  const listen = () => end.hear((why) => heard.push(why));
  if (order === "before") listen();
  end.tell("its thread ended");
  end.tell("its socket closed");
  if (order === "after") listen();
  expect(heard).toEqual(["its thread ended"]);
});

test("an end that fails keeps no other from ending, and is told once all have", async () => {
  const ends = new Ends();
  const ended: string[] = [];
  ends.add(() => ended.push("store"));
  ends.add(async () => {
    throw new Error("the port is stuck");
  });
  ends.add(() => {
    throw new Error("the lead cannot be given back");
  });
  ends.add(async () => ended.push("streams"));
  await expect(ends.runAll()).rejects.toThrow("the lead cannot be given back");
  expect(ended).toEqual(["streams", "store"]);
  await expect(ends.runAll()).rejects.toThrow("the lead cannot be given back");
  expect(ended).toHaveLength(2);
});
