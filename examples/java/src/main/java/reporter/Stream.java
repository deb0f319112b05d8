package reporter;

import com.google.protobuf.util.Durations;
import io.grpc.Channel;
import io.grpc.Metadata;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import io.grpc.stub.MetadataUtils;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;
import mcp.coordinator.v1.AckMode;
import mcp.coordinator.v1.Capability;
import mcp.coordinator.v1.DrainNotice;
import mcp.coordinator.v1.DrainReason;
import mcp.coordinator.v1.EventAckBatch;
import mcp.coordinator.v1.EventBatch;
import mcp.coordinator.v1.FlowControl;
import mcp.coordinator.v1.Heartbeat;
import mcp.coordinator.v1.Hello;
import mcp.coordinator.v1.InteractionServiceGrpc;
import mcp.coordinator.v1.RoutingUpdate;
import mcp.coordinator.v1.StreamInteractionsRequest;
import mcp.coordinator.v1.StreamInteractionsResponse;
import mcp.coordinator.v1.Welcome;

/** One stream, from Hello to its end. All but the observer runs on the thread that called run(). */
final class Stream {
  private static final long TICK_MS = 50; // heartbeats, retries, leaving

  private final Reporter reporter;
  private final Outbox outbox;
  private final Map<Long, Integer> flying = new HashMap<>();
  private long flyingBytes;
  private ClientCallStreamObserver<StreamInteractionsRequest> call;
  private FlowControl window; // null before the Welcome
  private int maxBatch = 500;
  private long intervalMs = 15_000;
  private long beatAtMs;
  private int unanswered;
  private DrainNotice drain; // null without
  private long leaveAtMs;
  private boolean isHalfClosed;
  private boolean isCancelled;
  private boolean isOver;

  Stream(Reporter reporter, Channel channel) {
    this.reporter = reporter;
    this.outbox = reporter.outbox;
    var headers = new Metadata();
    if (!reporter.key.isEmpty()) headers.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + reporter.key);
    InteractionServiceGrpc.newStub(channel).withInterceptors(MetadataUtils.newAttachHeadersInterceptor(headers)).streamInteractions(new Observer());
  }

  /** Milliseconds until the next stream; below 0 the backoff decides. */
  long run() throws InterruptedException {
    send(StreamInteractionsRequest.newBuilder().setHello(Hello.newBuilder()
        .setMcpId(reporter.mcpId).setProducerId(reporter.producerId).setAckMode(AckMode.ACK_MODE_COALESCED)
        .addAllCapabilities(List.of(Capability.CAPABILITY_HEARTBEAT, Capability.CAPABILITY_FLOW_CONTROL, Capability.CAPABILITY_ROUTING, Capability.CAPABILITY_DRAIN))
        .setFirstUnackedSequence(outbox.firstHeld()).setResumeSessionId(reporter.sessionId)));
    long welcomeByMs = Reporter.nowMs() + 10_000;
    while (!isOver) {
      reporter.runTasks(TICK_MS);
      if (window != null) act();
      else if (Reporter.nowMs() > welcomeByMs) cancel("no Welcome");
    }
    if (drain == null) return -1;
    boolean isFenced = drain.getReason() == DrainReason.DRAIN_REASON_FENCED; // somebody else has our producer_id: not soon
    return isFenced ? 30_000 + ThreadLocalRandom.current().nextLong(30_000) : 0;
  }

  /** Brings what gRPC's threads hear to the thread that owns all state. */
  private final class Observer implements ClientResponseObserver<StreamInteractionsRequest, StreamInteractionsResponse> {
    @Override
    public void beforeStart(ClientCallStreamObserver<StreamInteractionsRequest> started) {
      call = started;
    }

    @Override
    public void onNext(StreamInteractionsResponse response) {
      put(() -> receive(response));
    }

    @Override
    public void onError(Throwable error) {
      System.err.println("stream: " + error.getMessage());
      put(() -> isOver = true);
    }

    @Override
    public void onCompleted() {
      put(() -> isOver = true);
    }

    private void put(Runnable task) {
      try {
        reporter.tasks.put(() -> {
          if (!isOver) task.run();
        });
      } catch (InterruptedException error) {
        Thread.currentThread().interrupt();
      }
    }
  }

  /** Does what is due: heartbeat, events, leaving. */
  private void act() {
    long now = Reporter.nowMs();
    reporter.upAtMs = now;
    if (now >= beatAtMs) {
      if (unanswered >= 3) cancel("three heartbeats without an answer");
      unanswered++;
      beatAtMs = now + intervalMs;
      send(StreamInteractionsRequest.newBuilder().setHeartbeat(
          Heartbeat.newBuilder().setId(unanswered).setOutboxEvents(outbox.held.size()).setApplied(reporter.routes.applied())));
    }
    boolean isLeaving = drain != null && now >= leaveAtMs;
    if (!isLeaving) pump(now);
    if (!isHalfClosed && (reporter.isDone() || (isLeaving && flying.isEmpty()))) {
      isHalfClosed = true;
      call.onCompleted();
    }
  }

  /** Sends what is due, oldest first, within the window. */
  private void pump(long now) {
    var batch = EventBatch.newBuilder();
    for (var held : outbox.held.entrySet()) {
      var entry = held.getValue();
      if (flying.containsKey(held.getKey()) || entry.dueMs > now) continue;
      boolean fits = flying.size() < window.getMaxUnackedEvents() && flyingBytes + entry.bytes <= window.getMaxUnackedBytes();
      if (!fits && !flying.isEmpty()) break; // one event alone may always go
      flying.put(held.getKey(), entry.bytes);
      flyingBytes += entry.bytes;
      batch.addEvents(entry.event);
      if (batch.getEventsCount() == maxBatch) {
        send(StreamInteractionsRequest.newBuilder().setEventBatch(batch));
        batch = EventBatch.newBuilder();
      }
    }
    if (batch.getEventsCount() > 0) send(StreamInteractionsRequest.newBuilder().setEventBatch(batch));
  }

  /** The observer hears of it, and the stream is over then. What is sent to a cancelled call throws. */
  private void cancel(String why) {
    if (!isCancelled) call.cancel(why, null);
    isCancelled = true;
    isHalfClosed = true;
  }

  private void send(StreamInteractionsRequest.Builder frame) {
    if (!isHalfClosed && !isOver) call.onNext(frame.build());
  }

  private void receive(StreamInteractionsResponse response) {
    switch (response.getFrameCase()) {
      case WELCOME -> welcome(response.getWelcome());
      case EVENT_ACK_BATCH -> acked(response.getEventAckBatch());
      case FLOW_CONTROL -> flow(response.getFlowControl());
      case HEARTBEAT_ACK -> {
        unanswered = 0;
        reporter.attempt = 0;
        flow(response.getHeartbeatAck().getFlowControl());
      }
      case ROUTING_UPDATE -> route(response.getRoutingUpdate());
      case DRAIN_NOTICE -> {
        drain = response.getDrainNotice();
        boolean isFenced = drain.getReason() == DrainReason.DRAIN_REASON_FENCED;
        leaveAtMs = Reporter.nowMs() + (isFenced ? 0 : Durations.toMillis(drain.getReconnectDelay()));
      }
      case SERVER_NOTICE -> System.err.println("notice: " + response.getServerNotice().getMessage());
      default -> { } // a newer coordinator may send what we do not know
    }
  }

  private void welcome(Welcome welcome) {
    reporter.sessionId = welcome.getSessionId();
    if (welcome.getConfig().getMaxBatchEvents() > 0) maxBatch = welcome.getConfig().getMaxBatchEvents();
    if (welcome.getConfig().hasHeartbeatInterval()) intervalMs = Durations.toMillis(welcome.getConfig().getHeartbeatInterval());
    beatAtMs = Reporter.nowMs() + intervalMs;
    // What has no verdict is sent again, also at or below resume_after_sequence: a verdict that was lost may have been a refusal.
    flow(welcome.getFlowControl());
    if (welcome.hasRouting()) route(welcome.getRouting());
  }

  private void acked(EventAckBatch batch) {
    reporter.attempt = 0;
    for (var run : batch.getRangesList()) {
      for (long sequence : List.copyOf(flying.keySet())) {
        if (sequence < run.getFirst() || sequence > run.getLast()) continue;
        land(sequence);
        outbox.settle(sequence, run.getStatus());
      }
    }
    for (var ack : batch.getExceptionsList()) { // successes too, of what was sent a second time
      land(ack.getSequence());
      outbox.judge(ack);
    }
  }

  private void land(long sequence) {
    var bytes = flying.remove(sequence);
    if (bytes != null) flyingBytes -= bytes;
  }

  private void route(RoutingUpdate update) {
    send(StreamInteractionsRequest.newBuilder().setRoutingAck(reporter.routes.take(update)));
  }

  /** Takes a window over; versions count within one stream. */
  private void flow(FlowControl flow) {
    if (window == null || flow.getVersion() >= window.getVersion()) window = flow;
  }
}
