import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { FleetMark, FleetStanding, FleetTask } from "./fleet-client.js";

/** A large fleet in a few processes. */
export type Fleet = {
  readonly streams: number;
  readonly connections: number;
  /** The newest standing of all processes together. */
  readonly standing: () => FleetStanding;
  /** Forgets the acks and endings so far. */
  readonly mark: () => void;
  readonly stop: () => void;
};

const programFile = fileURLToPath(new URL("fleet-client.ts", import.meta.url));
export const streamsPerConnection = 100;

/** Of `streams`, one in five has a connection of its own; the others share connections, a hundred on each. Errors: the process ends when a client does. */
export function startFleet(target: string, streams: number, processes: number, openOverMs: number): Fleet {
  const sharedConnections = Math.floor((streams * 0.8) / processes / streamsPerConnection);
  const alone = Math.floor(streams / processes) - sharedConnections * streamsPerConnection;
  const standings: FleetStanding[] = [];
  let isStopped = false;
  const children = Array.from({ length: processes }, (_, index): ChildProcess => {
    const task: FleetTask = { target, name: `fleet-${index}`, alone, sharedConnections, streamsPerConnection, openOverMs };
    const child = fork(programFile, [JSON.stringify(task)], { execArgv: ["--import", "tsx"] });
    child.on("message", (standing: FleetStanding) => {
      standings[index] = standing;
    });
    child.once("exit", (code) => {
      if (!isStopped) throw new Error(`a fleet client ended with ${code}`);
    });
    return child;
  });
  const mark: FleetMark = { kind: "mark" };
  return {
    streams: processes * (alone + sharedConnections * streamsPerConnection),
    connections: processes * (alone + sharedConnections),
    standing: () => standings.reduce(addStandings, { up: 0, acked: 0, endings: {} }),
    mark: () => {
      standings.length = 0;
      for (const child of children) child.send(mark);
    },
    stop: () => {
      isStopped = true;
      for (const child of children) child.kill("SIGKILL");
    },
  };
}

function addStandings(sum: FleetStanding, one: FleetStanding): FleetStanding {
  const endings: Record<string, number> = { ...sum.endings };
  for (const [name, count] of Object.entries(one.endings)) endings[name] = (endings[name] ?? 0) + count;
  return { up: sum.up + one.up, acked: sum.acked + one.acked, endings };
}
