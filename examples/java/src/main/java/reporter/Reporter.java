package reporter;

import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.util.JsonFormat;
import io.grpc.ManagedChannel;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import mcp.coordinator.v1.InteractionEvent;
import mcp.coordinator.v1.ReportInteractionsRequest;
import mcp.coordinator.v1.ReportInteractionsResponse;

/** An MCP that reports interaction events to a coordinator. Reads one event per line on stdin, as proto3 JSON; ends when stdin ends. */
public final class Reporter {
  private static final long FIRST_BACKOFF_MS = 100;
  private static final long MAX_BACKOFF_MS = 30_000;
  private static final long HTTP_AFTER_MS = 2_000; // without a session
  private static final int TASKS_MAX = 1_000;
  private static final int POST_MAX_EVENTS = 100;
  private static final int POST_MAX_BYTES = 1 << 20; // the coordinator takes 4 MiB, and one event has 256 KiB at most

  final String mcpId;
  final String producerId;
  final String key;
  final Outbox outbox;
  final Routes routes = new Routes();
  /** Everything that happens, in one order: tasks for the one thread that owns all state. */
  final BlockingQueue<Runnable> tasks = new ArrayBlockingQueue<>(TASKS_MAX);

  String sessionId = "";
  long upAtMs = nowMs();
  int attempt; // reconnects since the last ack or answered heartbeat
  private boolean isClosing;
  private int leftOut; // lines of stdin that are no events
  private final String target;
  private final String web;
  private final HttpClient http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(2)).build();

  private Reporter(Map<String, String> flags, String key) throws IOException {
    target = flags.get("--target");
    web = flags.get("--web");
    mcpId = flags.get("--mcp-id");
    producerId = flags.get("--producer-id");
    outbox = new Outbox(Path.of(flags.get("--ledger")), mcpId);
    this.key = key;
  }

  public static void main(String[] args) throws Exception {
    var flags = new HashMap<String, String>();
    for (int i = 0; i + 1 < args.length; i += 2) flags.put(args[i], args[i + 1]);
    for (var name : List.of("--target", "--web", "--mcp-id", "--producer-id", "--ledger")) {
      if (flags.containsKey(name)) continue;
      System.err.println(name + " is missing");
      System.exit(2);
    }
    var reporter = new Reporter(flags, System.getenv().getOrDefault("MCPC_KEY", ""));
    var reader = new Thread(reporter::readStdin, "stdin");
    reader.setDaemon(true);
    reader.start();
    reporter.run();
    if (reporter.leftOut == 0) return;
    System.err.println(reporter.leftOut + " lines were no events");
    System.exit(1);
  }

  static long nowMs() {
    return System.nanoTime() / 1_000_000;
  }

  boolean isDone() {
    return isClosing && outbox.held.isEmpty();
  }

  private void readStdin() {
    try (var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        var event = InteractionEvent.newBuilder();
        try {
          JsonFormat.parser().merge(line, event);
        } catch (InvalidProtocolBufferException error) {
          System.err.println("left out, not an event: " + error.getMessage());
          tasks.put(() -> leftOut++);
          continue;
        }
        outbox.room.acquire();
        tasks.put(() -> outbox.add(event));
      }
      tasks.put(() -> isClosing = true);
    } catch (IOException | InterruptedException error) {
      System.err.println("stdin: " + error);
      System.exit(1);
    }
  }

  private void run() throws InterruptedException {
    while (!isDone()) {
      ManagedChannel channel = NettyChannelBuilder.forTarget(target).usePlaintext().disableRetry().keepAliveTime(60, TimeUnit.SECONDS).build();
      long delayMs;
      try {
        delayMs = new Stream(this, channel).run();
      } finally {
        channel.shutdownNow().awaitTermination(1, TimeUnit.SECONDS);
      }
      if (delayMs < 0) { // full jitter
        delayMs = ThreadLocalRandom.current().nextLong(1 + Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS << Math.min(attempt, 10)));
        attempt++;
      }
      rest(delayMs);
    }
  }

  /** Runs what comes within `ms`, and then what else is there already; no more, so that heartbeats have their turn too. */
  void runTasks(long ms) throws InterruptedException {
    int left = TASKS_MAX;
    for (Runnable task = tasks.poll(ms, TimeUnit.MILLISECONDS); task != null; task = --left > 0 ? tasks.poll() : null) task.run();
  }

  /** Waits for the next attempt. Without a session for long, what is held goes over HTTP. */
  private void rest(long delayMs) throws InterruptedException {
    for (long until = nowMs() + delayMs; nowMs() < until && !isDone(); ) runTasks(until - nowMs());
    if (nowMs() - upAtMs <= HTTP_AFTER_MS) return;
    try {
      for (int before = -1; outbox.held.size() != before; ) { // as long as it helps
        before = outbox.held.size();
        post();
      }
    } catch (IOException error) { // the same events again after the next attempt
      System.err.println("HTTP: " + error);
    }
  }

  private void post() throws IOException, InterruptedException {
    var report = ReportInteractionsRequest.newBuilder().setMcpId(mcpId).setProducerId(producerId);
    long now = nowMs();
    int bytes = 0;
    for (var entry : outbox.held.values()) {
      if (entry.dueMs > now) continue;
      bytes += entry.bytes;
      int count = report.getEventsCount();
      if (count == POST_MAX_EVENTS || (count > 0 && bytes > POST_MAX_BYTES)) break;
      report.addEvents(entry.event);
    }
    if (report.getEventsCount() == 0) return;
    var request = HttpRequest.newBuilder(URI.create(web + "/mcp.coordinator.v1.InteractionService/ReportInteractions"))
        .timeout(Duration.ofSeconds(5))
        .header("content-type", "application/proto")
        .POST(HttpRequest.BodyPublishers.ofByteArray(report.build().toByteArray()));
    if (!key.isEmpty()) request.header("authorization", "Bearer " + key);
    var answer = http.send(request.build(), HttpResponse.BodyHandlers.ofByteArray());
    if (answer.statusCode() != 200) throw new IOException("status " + answer.statusCode());
    ReportInteractionsResponse.parseFrom(answer.body()).getAcksList().forEach(outbox::judge);
  }
}
