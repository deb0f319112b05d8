/** The documented check lists of an integration. Source: the reporter guide; docs/reporter.md, "Check lists". */
export const checklists: readonly { readonly title: string; readonly items: readonly string[] }[] = [
  {
    title: "Before integrating",
    items: [
      "The coordinator supports API v2 (doctor: version).",
      "There is a valid API key for this MCP (doctor: http and key).",
      "The network lets this machine reach the coordinator's ports (doctor: dns, http and key, grpc).",
      "There is a path for the spool, one for each process, that this user can write.",
    ],
  },
  {
    title: "After integrating",
    items: [
      "A test interaction is reported and stored.",
      "With the coordinator stopped the business goes on, and reporter.state.spool.events grows.",
      "With the coordinator back the spool is emptied, and every interaction is stored once.",
      "The cost of reporting is acceptable: npx tsx bench/reporter.ts on this machine.",
    ],
  },
  {
    title: "In production",
    items: [
      "The reporter has a logger, at an appropriate level.",
      "reporter.state or onTrouble is watched, and somebody is told.",
      "It is known what to do with reporter.setAside and with a full spool (docs/reporter.md).",
      "The coordinator's store is backed up.",
    ],
  },
];

/** The lists as text, with a box before each item. */
export const describeChecklists = (): string =>
  checklists.map(({ title, items }) => [title, ...items.map((item) => `  [ ] ${item}`)].join("\n")).join("\n\n");
