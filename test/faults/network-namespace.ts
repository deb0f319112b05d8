import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { attempt, isRoot } from "./machine-limits.js";

type Network = {
  readonly hostAddress: string;
  /** A relay inside the namespace listens here: a path is not bound to any network. */
  readonly socketPath: string;
  readonly relayTo: (port: number) => Promise<void>;
  /** Drops what clients send (`up`), what they are sent (`down`), or both. Returns the cure. */
  readonly drop: (way: "up" | "down" | "both") => () => void;
  readonly close: () => void;
};

/** A namespace joined to this one by a pair of interfaces; undefined where that is not allowed. Packets are dropped by black-hole routes. */
export async function openNetwork(seed: number): Promise<Network | undefined> {
  const name = `mcpcf${process.pid % 10_000}`;
  const [hostAddress, otherAddress] = [`10.199.${seed % 250}.1`, `10.199.${seed % 250}.2`];
  const inside = ["netns", "exec", name];
  const steps = [
    ["netns", "add", name],
    ["link", "add", `${name}a`, "type", "veth", "peer", "name", `${name}b`],
    ["link", "set", `${name}b`, "netns", name],
    ["addr", "add", `${hostAddress}/30`, "dev", `${name}a`],
    ["link", "set", `${name}a`, "up"],
    ["-n", name, "addr", "add", `${otherAddress}/30`, "dev", `${name}b`],
    ["-n", name, "link", "set", `${name}b`, "up"],
  ];
  const remove = (): void => {
    attempt("ip", ["link", "del", `${name}a`]);
    attempt("ip", ["netns", "del", name]);
  };
  if (!isRoot() || !steps.every((step) => attempt("ip", step))) {
    remove();
    return undefined;
  }
  const socketPath = join(mkdtempSync(join(tmpdir(), "mcpc-net-")), "relay");
  let relay: ChildProcess | undefined;
  return {
    hostAddress,
    socketPath,
    relayTo: async (port) => {
      const script = `const net=require("net");net.createServer((a)=>{const b=net.connect(${port},"${hostAddress}");a.on("error",()=>b.destroy());b.on("error",()=>a.destroy());a.pipe(b).pipe(a)}).listen(${JSON.stringify(socketPath)},()=>console.log("up"))`;
      relay = spawn("ip", [...inside, process.execPath, "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
      if (relay.stdout !== null) await once(relay.stdout, "data");
    },
    drop: (way) => {
      const routes = [
        ...(way === "down" ? [] : [["-n", name, "route", "add", "blackhole", `${hostAddress}/32`]]),
        ...(way === "up" ? [] : [["route", "add", "blackhole", `${otherAddress}/32`]]),
      ];
      for (const route of routes) attempt("ip", route);
      return () => {
        for (const route of routes)
          attempt(
            "ip",
            route.map((word) => (word === "add" ? "del" : word)),
          );
      };
    },
    close: () => {
      relay?.kill("SIGKILL");
      remove();
      rmSync(join(socketPath, ".."), { recursive: true, force: true });
    },
  };
}
