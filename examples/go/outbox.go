package main

import (
	"encoding/base64"
	"encoding/json"
	"log"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	pb "example.org/mcp-coordinator-client/gen/mcp/coordinator/v1"
)

// entry is an event without a final verdict.
type entry struct {
	event *pb.InteractionEvent
	bytes uint64
	due   time.Time // not to be sent before
}

// outbox holds events by ascending sequence, and writes the ledger of what was sent and acknowledged.
type outbox struct {
	held   []*entry
	next   uint64
	mcpID  string
	ledger *os.File
}

func openOutbox(path, mcpID string) (*outbox, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	return &outbox{next: 1, mcpID: mcpID, ledger: file}, err
}

func (o *outbox) isEmpty() bool { return len(o.held) == 0 }

// firstHeld is the oldest sequence that is held, or the next one.
func (o *outbox) firstHeld() uint64 {
	if o.isEmpty() {
		return o.next
	}
	return o.held[0].event.Sequence
}

func (o *outbox) add(event *pb.InteractionEvent) {
	event.Sequence = o.next
	o.next++
	encoded, err := proto.Marshal(event)
	if err != nil {
		log.Fatal(err)
	}
	o.write(map[string]string{ // before it can reach the network
		"sent": event.EventId, "mcp": o.mcpID, "interaction": event.InteractionId, "event": base64.StdEncoding.EncodeToString(encoded)})
	o.held = append(o.held, &entry{event: event, bytes: uint64(len(encoded))})
}

func (o *outbox) write(line map[string]string) {
	text, _ := json.Marshal(line) // strings always marshal
	if _, err := o.ledger.Write(append(text, '\n')); err != nil {
		log.Fatal(err)
	}
}

func (o *outbox) find(sequence uint64) (int, bool) {
	return slices.BinarySearchFunc(o.held, sequence, func(held *entry, wanted uint64) int {
		return int(int64(held.event.Sequence - wanted))
	})
}

func (o *outbox) settle(sequence uint64, status pb.EventStatus) {
	if at, ok := o.find(sequence); ok {
		o.write(map[string]string{"acked": o.held[at].event.EventId, "status": strings.TrimPrefix(status.String(), "EVENT_STATUS_")})
		o.held = slices.Delete(o.held, at, at+1)
	}
}

// judge books one verdict in full. `retryable` decides, not the status.
func (o *outbox) judge(ack *pb.EventAck) {
	at, ok := o.find(ack.Sequence)
	isSuccess := ack.Status == pb.EventStatus_EVENT_STATUS_STORED || ack.Status == pb.EventStatus_EVENT_STATUS_DUPLICATE
	if !ok || isSuccess || !ack.Retryable {
		o.settle(ack.Sequence, ack.Status)
		return
	}
	delay := firstBackoff + rand.N(firstBackoff)
	if ack.RetryDelay != nil {
		delay = ack.RetryDelay.AsDuration()
	}
	o.held[at].due = time.Now().Add(delay)
}
