package reporter;

import com.google.protobuf.ByteString;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Comparator;
import java.util.HashMap;
import java.util.Map;
import mcp.coordinator.v1.AppliedRoutes;
import mcp.coordinator.v1.ApplyStatus;
import mcp.coordinator.v1.Route;
import mcp.coordinator.v1.RouteVerdict;
import mcp.coordinator.v1.RoutingAck;
import mcp.coordinator.v1.RoutingRejection;
import mcp.coordinator.v1.RoutingUpdate;

/** The table in force. A table is applied as a whole or not at all. */
final class Routes {
  private record Fault(RoutingRejection rejection, String reason) {}

  private Map<String, Route> table = Map.of();
  private AppliedRoutes applied; // null before the first

  AppliedRoutes applied() {
    return applied == null ? AppliedRoutes.getDefaultInstance() : applied;
  }

  /** Judges an update, applies it when it may be, and gives the ack. */
  RoutingAck take(RoutingUpdate update) {
    var fault = judge(update);
    var ack = RoutingAck.newBuilder().setNonce(update.getNonce()).setStatus(ApplyStatus.APPLY_STATUS_APPLIED);
    if (fault != null) {
      ack.setStatus(ApplyStatus.APPLY_STATUS_REJECTED).setRejection(fault.rejection).addRejected(RouteVerdict.newBuilder().setReason(fault.reason));
    }
    if (applied != null) ack.setApplied(applied);
    return ack.build();
  }

  /** What is wrong with an update; null when it is in force now, or is not newer. The numbers are unsigned. */
  private Fault judge(RoutingUpdate update) {
    int term = applied == null ? 1 : Long.compareUnsigned(update.getTerm(), applied.getTerm());
    if (term < 0) return new Fault(RoutingRejection.ROUTING_REJECTION_STALE_EPOCH, "a newer term is in force");
    if (term == 0 && Long.compareUnsigned(update.getVersion(), applied.getVersion()) <= 0) return null;
    var next = new HashMap<String, Route>();
    if (update.hasDelta()) {
      if (applied == null || term != 0 || update.getDelta().getBaseVersion() != applied.getVersion()) {
        return new Fault(RoutingRejection.ROUTING_REJECTION_OUT_OF_SYNC, "the base is not in force");
      }
      next.putAll(table);
      update.getDelta().getRemoveList().forEach(next::remove);
      update.getDelta().getUpsertList().forEach(route -> next.put(route.getMcpId(), route));
    } else {
      update.getFull().getRoutesList().forEach(route -> next.put(route.getMcpId(), route));
    }
    if (digestOf(next) != update.getDigest()) {
      return new Fault(RoutingRejection.ROUTING_REJECTION_OUT_OF_SYNC, "the digest is not that of the table");
    }
    int sum = next.values().stream().mapToInt(Route::getWeight).sum();
    if (sum != 0 && sum != 10_000) return new Fault(RoutingRejection.ROUTING_REJECTION_CONTENT, "the weights sum to " + sum);
    table = next;
    applied = AppliedRoutes.newBuilder().setTerm(update.getTerm()).setVersion(update.getVersion()).setDigest(update.getDigest()).build();
    return null;
  }

  /** Ascending by the bytes of UTF-8: String.compareTo has another order. */
  private static long digestOf(Map<String, Route> table) {
    var byBytes = Comparator.comparing((Route route) -> ByteString.copyFromUtf8(route.getMcpId()), ByteString.unsignedLexicographicalComparator());
    var lines = new StringBuilder();
    table.values().stream().sorted(byBytes).forEach(route ->
        lines.append(route.getMcpId()).append('\t').append(route.getWeight()).append('\t').append(route.getStateValue()).append('\n'));
    try {
      var hash = MessageDigest.getInstance("SHA-256").digest(lines.toString().getBytes(StandardCharsets.UTF_8));
      return ByteBuffer.wrap(hash).getLong();
    } catch (NoSuchAlgorithmException error) {
      throw new IllegalStateException("every Java has SHA-256", error);
    }
  }
}
