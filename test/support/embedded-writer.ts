// A process of its own that appends to an embedded store without end, and prints the id of each event once it is acknowledged.

import { openStore } from "../../src/store/open.js";
import { freshName, newEvent } from "./new-event.js";
import { storeOptions } from "./open-store.js";

const store = await openStore(storeOptions({ dataDir: process.argv[2] ?? "" }));
for (;;) {
  const batch = Array.from({ length: 50 }, () => newEvent({ interactionId: freshName("i") }));
  await store.append(0, batch);
  await new Promise((resolve) => process.stdout.write(`${batch.map((event) => event.eventId).join("\n")}\n`, resolve));
}
