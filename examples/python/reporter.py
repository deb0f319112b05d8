"""An MCP that reports interaction events to a coordinator. Reads one event per line on stdin, as proto3 JSON; ends when stdin ends."""

import argparse
import base64
import hashlib
import http.client
import json
import os
import queue
import random
import sys
import threading
import time
import urllib.request
from collections import OrderedDict

import grpc
from google.protobuf import json_format
from google.protobuf.message import DecodeError

from mcp.coordinator.v1 import events_pb2, interaction_service_pb2, interaction_service_pb2_grpc, routes_pb2, session_pb2

FIRST_BACKOFF, MAX_BACKOFF = 0.1, 30.0
TICK = 0.02
HTTP_AFTER = 2.0  # seconds without a session
POST_MAX_EVENTS, POST_MAX_BYTES = 100, 1 << 20  # in one body; the coordinator takes 4 MiB, and one event has 256 KiB at most
MAX_HELD = 10_000  # events without a verdict; above it stdin waits
CONTENT = routes_pb2.ROUTING_REJECTION_CONTENT
OUT_OF_SYNC = routes_pb2.ROUTING_REJECTION_OUT_OF_SYNC
STALE_EPOCH = routes_pb2.ROUTING_REJECTION_STALE_EPOCH
CAPABILITIES = (
    session_pb2.CAPABILITY_HEARTBEAT,
    session_pb2.CAPABILITY_FLOW_CONTROL,
    session_pb2.CAPABILITY_ROUTING,
    session_pb2.CAPABILITY_DRAIN,
)
SUCCESS = (events_pb2.EVENT_STATUS_STORED, events_pb2.EVENT_STATUS_DUPLICATE)


class Entry:
    """An event without a final verdict."""

    def __init__(self, event):
        self.event, self.bytes = event, event.ByteSize()
        self.due = 0.0  # not to be sent before


class Outbox:
    """Held events by sequence, and the ledger of what was sent and acknowledged."""

    def __init__(self, ledger_path, mcp_id):
        self.held, self.next_sequence, self.mcp_id = OrderedDict(), 1, mcp_id
        self.ledger = open(ledger_path, "a", encoding="utf-8")
        self.room = threading.BoundedSemaphore(MAX_HELD)  # taken by who reads stdin, given back with the verdict

    def add(self, event):
        event.sequence = self.next_sequence
        self.next_sequence += 1
        line = {"sent": event.event_id, "mcp": self.mcp_id, "interaction": event.interaction_id}
        line["event"] = base64.b64encode(event.SerializeToString()).decode()
        self.write(line)  # before it can reach the network
        self.held[event.sequence] = Entry(event)

    def write(self, line):
        self.ledger.write(json.dumps(line) + "\n")
        self.ledger.flush()

    def settle(self, sequence, status):
        entry = self.held.pop(sequence, None)
        if entry is None:
            return
        self.room.release()
        # A newer coordinator may say what has no name here.
        name = events_pb2.EventStatus.Name(status) if status in events_pb2.EventStatus.values() else str(status)
        self.write({"acked": entry.event.event_id, "status": name.removeprefix("EVENT_STATUS_")})

    def judge(self, ack):
        """One verdict in full. `retryable` decides, not the status."""
        entry = self.held.get(ack.sequence)
        if entry is None:
            return
        if ack.retryable and ack.status not in SUCCESS:
            delay = ack.retry_delay.ToTimedelta().total_seconds() if ack.HasField("retry_delay") else random.uniform(0.1, 0.2)
            entry.due = time.monotonic() + delay
        else:
            self.settle(ack.sequence, ack.status)


class Routes:
    """The table in force. A table is applied as a whole or not at all."""

    def __init__(self):
        self.table, self.applied = {}, None

    def take(self, update):
        rejection, reason = self.judge(update)
        ack = routes_pb2.RoutingAck(nonce=update.nonce, status=routes_pb2.APPLY_STATUS_APPLIED)
        if rejection:
            ack.status, ack.rejection = routes_pb2.APPLY_STATUS_REJECTED, rejection
            ack.rejected.add(reason=reason)
        if self.applied is not None:
            ack.applied.CopyFrom(self.applied)
        return ack

    def judge(self, update):
        if self.applied is not None and update.term < self.applied.term:
            return STALE_EPOCH, "a newer term is in force"
        if self.applied is not None and (update.term, update.version) <= (self.applied.term, self.applied.version):
            return None, ""  # nothing to do
        if update.HasField("full"):
            table = {route.mcp_id: route for route in update.full.routes}
        else:
            base = (update.term, update.delta.base_version)
            if self.applied is None or base != (self.applied.term, self.applied.version):
                return OUT_OF_SYNC, "the base is not in force"
            table = {mcp_id: route for mcp_id, route in self.table.items() if mcp_id not in update.delta.remove}
            table.update({route.mcp_id: route for route in update.delta.upsert})
        if digest(table) != update.digest:
            return OUT_OF_SYNC, "the digest is not that of the table"
        total = sum(route.weight for route in table.values())
        if total not in (0, 10_000):
            return CONTENT, f"the weights sum to {total}"
        self.table = table
        self.applied = routes_pb2.AppliedRoutes(term=update.term, version=update.version, digest=update.digest)
        return None, ""


def digest(table):
    rows = sorted((mcp_id.encode(), route) for mcp_id, route in table.items())
    lines = b"".join(b"%s\t%d\t%d\n" % (name, route.weight, route.state) for name, route in rows)
    return int.from_bytes(hashlib.sha256(lines).digest()[:8], "big")


class Reporter:
    def __init__(self, options, key):
        self.options, self.metadata = options, [("authorization", f"Bearer {key}")] if key else []
        self.outbox, self.routes = Outbox(options.ledger, options.mcp_id), Routes()
        self.inbox = queue.Queue(maxsize=1000)  # (stream, what): events of stdin, frames of a stream, None for the end of either
        self.is_closing, self.session_id, self.up_at, self.attempt = False, "", time.monotonic(), 0
        self.left_out = 0  # lines of stdin that are no events

    def run(self):
        """Sees everything through. How many lines were left out."""
        threading.Thread(target=self.read_stdin, daemon=True).start()
        while not (self.is_closing and not self.outbox.held):
            channel = grpc.insecure_channel(self.options.target, [("grpc.enable_retries", 0), ("grpc.keepalive_time_ms", 60_000)])
            with channel:
                delay = Stream(self, channel).run()
            if delay is None:  # full jitter
                delay = random.uniform(0, min(MAX_BACKOFF, FIRST_BACKOFF * 2**self.attempt))
                self.attempt = min(self.attempt + 1, 20)
            self.rest(delay)
        return self.left_out

    def read_stdin(self):
        for line in sys.stdin.buffer:
            try:
                event = json_format.Parse(line, events_pb2.InteractionEvent())
            except (json_format.ParseError, UnicodeDecodeError) as error:
                print(f"left out, not an event: {error}", file=sys.stderr)
                self.left_out += 1
                continue
            self.outbox.room.acquire()
            self.inbox.put((None, event))
        self.inbox.put((None, None))

    def next(self, seconds):
        """The next frame of a stream, or None after taking what stdin told, or when nothing came."""
        try:
            stream, what = self.inbox.get(timeout=max(0.0, seconds))
        except queue.Empty:
            return None
        if stream is not None:
            return stream, what
        if what is None:
            self.is_closing = True
        else:
            self.outbox.add(what)
        return None

    def rest(self, seconds):
        """Waits for the next attempt. Without a session for long, what is held goes over HTTP."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not (self.is_closing and not self.outbox.held):
            self.next(until - time.monotonic())
        if time.monotonic() - self.up_at <= HTTP_AFTER:
            return
        before = None
        while len(self.outbox.held) != before:  # as long as it helps
            before = len(self.outbox.held)
            self.post()

    def post(self):
        now, due, size = time.monotonic(), [], 0
        for entry in self.outbox.held.values():
            if entry.due > now:
                continue
            size += entry.bytes
            if len(due) == POST_MAX_EVENTS or (due and size > POST_MAX_BYTES):
                break
            due.append(entry.event)
        if not due:
            return
        request = interaction_service_pb2.ReportInteractionsRequest(
            mcp_id=self.options.mcp_id, producer_id=self.options.producer_id, events=due
        )
        headers = {name: value for name, value in self.metadata} | {"content-type": "application/proto"}
        url = f"{self.options.web}/mcp.coordinator.v1.InteractionService/ReportInteractions"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, request.SerializeToString(), headers), timeout=5) as answer:
                response = interaction_service_pb2.ReportInteractionsResponse.FromString(answer.read())
        # Also HTTPError and a body that was cut off: the same events again after the next attempt.
        except (OSError, http.client.HTTPException, DecodeError) as error:
            print(f"HTTP: {error}", file=sys.stderr)
            return
        for ack in response.acks:
            self.outbox.judge(ack)


class Stream:
    """One stream, from Hello to its end."""

    def __init__(self, reporter, channel):
        self.reporter, self.outbox = reporter, reporter.outbox
        self.outgoing, self.flying, self.flying_bytes = queue.Queue(), {}, 0
        self.window, self.flow_version, self.batch, self.is_up = (0, 0), -1, 1, False
        self.interval, self.beat_at, self.unanswered = 15.0, 0.0, 0
        self.leave_at, self.delay, self.is_half_closed = None, None, False
        stub = interaction_service_pb2_grpc.InteractionServiceStub(channel)
        self.call = stub.StreamInteractions(iter(self.outgoing.get, None), metadata=reporter.metadata)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for response in self.call:
                self.reporter.inbox.put((self, response))
        except grpc.RpcError as error:
            print(f"stream: {error.code().name} {error.details()}", file=sys.stderr)
        self.reporter.inbox.put((self, None))

    def run(self):
        """Seconds until the next stream; None leaves it to the backoff."""
        try:
            return self.carry()
        finally:
            self.outgoing.put(None)  # gRPC's thread waits for the next frame, and would wait for ever

    def carry(self):
        held, now = self.outbox.held, time.monotonic()
        hello = session_pb2.Hello(mcp_id=self.reporter.options.mcp_id, producer_id=self.reporter.options.producer_id)
        hello.capabilities.extend(CAPABILITIES)
        hello.ack_mode = session_pb2.ACK_MODE_COALESCED
        hello.first_unacked_sequence = next(iter(held), self.outbox.next_sequence)
        hello.resume_session_id = self.reporter.session_id
        self.send(hello=hello)
        welcome_by = now + 10
        while True:
            item = self.reporter.next(self.wait_seconds(welcome_by))
            if item is not None and item[0] is self:
                if item[1] is None:
                    return self.delay
                self.receive(item[1])
            now = time.monotonic()
            if not self.is_up and now > welcome_by:
                self.call.cancel()
            if self.is_up:
                self.reporter.up_at = now
                self.act(now)

    def wait_seconds(self, welcome_by):
        """Until something is due; never so short that waiting for an answer turns in circles."""
        now = time.monotonic()
        dues = [welcome_by if not self.is_up else self.beat_at, now + 1]
        dues += [entry.due for entry in self.outbox.held.values() if entry.due > now]
        if self.leave_at is not None and self.leave_at > now:
            dues.append(self.leave_at)
        return max(TICK, min(dues) - now)

    def act(self, now):
        if now >= self.beat_at:
            if self.unanswered >= 3:
                self.call.cancel()
            self.beat_at, self.unanswered = now + self.interval, self.unanswered + 1
            self.send(heartbeat=session_pb2.Heartbeat(id=self.unanswered, outbox_events=len(self.outbox.held), applied=self.reporter.routes.applied))
        is_leaving = self.leave_at is not None and now >= self.leave_at
        if not is_leaving:
            self.pump(now)
        is_done = self.reporter.is_closing and not self.outbox.held
        if not self.is_half_closed and (is_done or (is_leaving and not self.flying)):
            self.is_half_closed = True
            self.outgoing.put(None)

    def pump(self, now):
        max_events, max_bytes = self.window
        batch = session_pb2.EventBatch()
        for sequence, entry in self.outbox.held.items():
            if sequence in self.flying or entry.due > now:
                continue
            fits = len(self.flying) < max_events and self.flying_bytes + entry.bytes <= max_bytes
            if not fits and self.flying:  # one event alone may always go
                break
            self.flying[sequence] = entry.bytes
            self.flying_bytes += entry.bytes
            batch.events.append(entry.event)
            if len(batch.events) == self.batch:
                self.send(event_batch=batch)
                batch = session_pb2.EventBatch()
        if batch.events:
            self.send(event_batch=batch)

    def send(self, **frame):
        if not self.is_half_closed:
            self.outgoing.put(interaction_service_pb2.StreamInteractionsRequest(**frame))

    def receive(self, response):
        kind = response.WhichOneof("frame")  # None for a frame of a newer coordinator
        value = getattr(response, kind) if kind else None
        if kind == "welcome":
            self.is_up, self.batch = True, value.config.max_batch_events or 500
            self.interval = value.config.heartbeat_interval.ToTimedelta().total_seconds() or 15.0
            self.beat_at = time.monotonic() + self.interval
            self.reporter.session_id = value.session_id
            # What has no verdict is sent again, also at or below resume_after_sequence: a verdict that was lost may have been a refusal.
            self.flow(value.flow_control)
            if value.HasField("routing"):
                self.send(routing_ack=self.reporter.routes.take(value.routing))
        elif kind == "event_ack_batch":
            self.reporter.attempt = 0
            for run in value.ranges:
                for sequence in [s for s in self.flying if run.first <= s <= run.last]:
                    self.land(sequence)
                    self.outbox.settle(sequence, run.status)
            for ack in value.exceptions:  # successes too, of what was sent a second time
                self.land(ack.sequence)
                self.outbox.judge(ack)
        elif kind == "flow_control":
            self.flow(value)
        elif kind == "heartbeat_ack":
            self.unanswered = self.reporter.attempt = 0
            self.flow(value.flow_control)
        elif kind == "routing_update":
            self.send(routing_ack=self.reporter.routes.take(value))
        elif kind == "drain_notice":
            delay = value.reconnect_delay.ToTimedelta().total_seconds()
            is_fenced = value.reason == session_pb2.DRAIN_REASON_FENCED
            self.leave_at = time.monotonic() + (0 if is_fenced else delay)
            self.delay = random.uniform(30, 60) if is_fenced else 0.0
        elif kind == "server_notice":
            print(f"notice: {value.code} {value.message}", file=sys.stderr)

    def land(self, sequence):
        self.flying_bytes -= self.flying.pop(sequence, 0)

    def flow(self, flow):
        if flow.version >= self.flow_version:  # versions count within one stream
            self.flow_version, self.window = flow.version, (flow.max_unacked_events, flow.max_unacked_bytes)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("target", "web", "mcp-id", "producer-id", "ledger"):
        parser.add_argument(f"--{name}", required=True)
    left_out = Reporter(parser.parse_args(), os.environ.get("MCPC_KEY", "")).run()
    if left_out > 0:
        sys.exit(f"{left_out} lines were no events")


if __name__ == "__main__":
    main()
