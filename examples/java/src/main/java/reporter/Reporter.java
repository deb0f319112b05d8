package reporter;

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

  final String mcpId;
  final String producerId;
  final String key;
  final Outbox outbox;
  final Routes routes = new Routes();
  /** Everything that happens, in one order: tasks for the one thread that owns all state. */
  final BlockingQueue<Runnable> tasks = new ArrayBlockingQueue<>(1_000);

  String sessionId = "";
  long upAtMs = nowMs();
  int attempt; // reconnects since the last ack or answered heartbeat
  private boolean isClosing;
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
    var reporter = new Reporter(flags, System.getenv().getOrDefault("MCPC_KEY", ""));
    var reader = new Thread(reporter::readStdin, "stdin");
    reader.setDaemon(true);
    reader.start();
    reporter.run();
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
        JsonFormat.parser().merge(line, event);
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
      long delayMs = new Stream(this, channel).run();
      channel.shutdownNow();
      if (delayMs < 0) { // full jitter
        delayMs = ThreadLocalRandom.current().nextLong(1 + Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS << Math.min(attempt, 10)));
        attempt++;
      }
      rest(delayMs);
    }
  }

  /** Runs what comes within `ms`, and then whatever else is there already. */
  void runTasks(long ms) throws InterruptedException {
    for (Runnable task = tasks.poll(ms, TimeUnit.MILLISECONDS); task != null; task = tasks.poll()) task.run();
  }

  /** Waits for the next attempt. Without a session for long, what is held goes over HTTP. */
  private void rest(long delayMs) throws InterruptedException {
    for (long until = nowMs() + delayMs; nowMs() < until && !isDone(); ) runTasks(until - nowMs());
    if (nowMs() - upAtMs <= HTTP_AFTER_MS) return;
    try {
      post();
    } catch (IOException error) { // the same events again after the next attempt
      System.err.println("HTTP: " + error);
    }
  }

  private void post() throws IOException, InterruptedException {
    var report = ReportInteractionsRequest.newBuilder().setMcpId(mcpId).setProducerId(producerId);
    long now = nowMs();
    outbox.held.values().stream().filter(entry -> entry.dueMs <= now).limit(100).forEach(entry -> report.addEvents(entry.event));
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
