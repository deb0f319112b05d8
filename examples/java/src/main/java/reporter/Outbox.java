package reporter;

import com.google.protobuf.Duration;
import com.google.protobuf.util.Durations;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Base64;
import java.util.TreeMap;
import java.util.concurrent.Semaphore;
import java.util.concurrent.ThreadLocalRandom;
import mcp.coordinator.v1.EventAck;
import mcp.coordinator.v1.EventStatus;
import mcp.coordinator.v1.InteractionEvent;

/** Events without a final verdict, by sequence, and the ledger of what was sent and acknowledged. */
final class Outbox {
  static final class Entry {
    final InteractionEvent event;
    final int bytes;
    long dueMs; // not to be sent before

    Entry(InteractionEvent event) {
      this.event = event;
      this.bytes = event.getSerializedSize();
    }
  }

  /** Most events without a verdict; above it stdin waits. */
  private static final int HELD_MAX = 100_000;

  final TreeMap<Long, Entry> held = new TreeMap<>();
  /** Taken by who reads stdin, given back with the verdict. */
  final Semaphore room = new Semaphore(HELD_MAX);
  private final String mcpId;
  private final OutputStream ledger;
  private long next = 1;

  Outbox(Path path, String mcpId) throws IOException {
    this.mcpId = mcpId;
    this.ledger = Files.newOutputStream(path, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
  }

  /** The oldest sequence that is held, or the next one. */
  long firstHeld() {
    return held.isEmpty() ? next : held.firstKey();
  }

  void add(InteractionEvent.Builder builder) {
    var event = builder.setSequence(next++).build();
    var encoded = Base64.getEncoder().encodeToString(event.toByteArray());
    // Before it can reach the network.
    write("{\"sent\":%s,\"mcp\":%s,\"interaction\":%s,\"event\":\"%s\"}", quote(event.getEventId()), quote(mcpId), quote(event.getInteractionId()), encoded);
    held.put(event.getSequence(), new Entry(event));
  }

  void settle(long sequence, EventStatus status) {
    var entry = held.remove(sequence);
    if (entry == null) return;
    room.release();
    write("{\"acked\":%s,\"status\":\"%s\"}", quote(entry.event.getEventId()), status.name().replace("EVENT_STATUS_", ""));
  }

  /** Books one verdict in full. `retryable` decides, not the status. */
  void judge(EventAck ack) {
    var entry = held.get(ack.getSequence());
    boolean isSuccess = ack.getStatus() == EventStatus.EVENT_STATUS_STORED || ack.getStatus() == EventStatus.EVENT_STATUS_DUPLICATE;
    if (entry == null || isSuccess || !ack.getRetryable()) {
      settle(ack.getSequence(), ack.getStatus());
      return;
    }
    Duration delay = ack.hasRetryDelay() ? ack.getRetryDelay() : Durations.fromMillis(100 + ThreadLocalRandom.current().nextLong(100));
    entry.dueMs = Reporter.nowMs() + Durations.toMillis(delay) + 1; // both were cut to whole milliseconds
  }

  private void write(String format, Object... values) {
    try {
      ledger.write((format.formatted(values) + "\n").getBytes(StandardCharsets.UTF_8));
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private static String quote(String text) {
    var quoted = new StringBuilder("\"");
    for (char c : text.toCharArray()) {
      if (c < ' ') quoted.append("\\u%04x".formatted((int) c));
      else quoted.append(c == '"' || c == '\\' ? "\\" + c : c);
    }
    return quoted.append('"').toString();
  }
}
