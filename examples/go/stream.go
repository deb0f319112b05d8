package main

import (
	"cmp"
	"context"
	"log"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	pb "example.org/mcp-coordinator-client/gen/mcp/coordinator/v1"
)

type (
	streamRequest  = pb.StreamInteractionsRequest
	streamResponse = pb.StreamInteractionsResponse
)

// stream is one stream, from Hello to its end.
type stream struct {
	*reporter
	call        grpc.BidiStreamingClient[streamRequest, streamResponse]
	cancel      context.CancelFunc
	window      *pb.FlowControl // nil before the Welcome
	flying      map[uint64]uint64
	flyingBytes uint64
	maxBatch    int
	interval    time.Duration
	beatAt      time.Time
	unanswered  int
	drain       *pb.DrainNotice
	leaveAt     time.Time
	halfClosed  bool
}

// runStream opens a stream and carries it to its end. Says how long to wait for the next, if the coordinator has told.
func runStream(r *reporter, service pb.InteractionServiceClient) (time.Duration, bool) {
	ctx := context.Background()
	if r.key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+r.key)
	}
	ctx, cancel := context.WithCancel(ctx) // no deadline: a stream lives as long as its process
	defer cancel()
	call, err := service.StreamInteractions(ctx)
	if err != nil {
		log.Printf("stream: %v", err)
		return 0, false
	}
	s := &stream{reporter: r, call: call, cancel: cancel, flying: map[uint64]uint64{}}
	frames := make(chan *streamResponse)
	go func() {
		defer close(frames)
		for {
			frame, err := call.Recv()
			if err != nil {
				log.Printf("stream: %v", err)
				return
			}
			frames <- frame
		}
	}()
	s.send(&streamRequest{Frame: &pb.StreamInteractionsRequest_Hello{Hello: &pb.Hello{
		McpId: r.mcpID, ProducerId: r.producerID, AckMode: pb.AckMode_ACK_MODE_COALESCED,
		Capabilities: []pb.Capability{pb.Capability_CAPABILITY_HEARTBEAT, pb.Capability_CAPABILITY_FLOW_CONTROL,
			pb.Capability_CAPABILITY_ROUTING, pb.Capability_CAPABILITY_DRAIN},
		FirstUnackedSequence: r.outbox.firstHeld(), ResumeSessionId: r.sessionID,
	}}})
	welcomeBy := time.Now().Add(10 * time.Second)
	ticker := time.NewTicker(50 * time.Millisecond) // heartbeats, retries, leaving
	defer ticker.Stop()
	for {
		select {
		case frame, ok := <-frames:
			if !ok {
				return s.pause()
			}
			s.receive(frame)
		case event, ok := <-r.inbox():
			r.take(event, ok)
		case <-ticker.C:
		}
		if s.window == nil {
			if time.Now().After(welcomeBy) {
				cancel()
			}
			continue
		}
		r.upAt = time.Now()
		s.act()
	}
}

// pause is what the coordinator has said about coming back.
func (s *stream) pause() (time.Duration, bool) {
	if s.drain.GetReason() == pb.DrainReason_DRAIN_REASON_FENCED { // somebody else has our producer_id: not soon
		return 30*time.Second + rand.N(30*time.Second), true
	}
	return 0, s.drain != nil
}

// act does what is due: heartbeat, events, leaving.
func (s *stream) act() {
	now := time.Now()
	if now.After(s.beatAt) {
		if s.unanswered >= 3 {
			s.cancel()
		}
		s.unanswered++
		s.beatAt = now.Add(s.interval)
		s.send(&streamRequest{Frame: &pb.StreamInteractionsRequest_Heartbeat{Heartbeat: &pb.Heartbeat{
			Id: uint64(s.unanswered), OutboxEvents: uint32(len(s.outbox.held)), Applied: s.routes.applied}}})
	}
	isLeaving := s.drain != nil && now.After(s.leaveAt)
	if !isLeaving {
		s.pump(now)
	}
	if !s.halfClosed && (s.isDone() || isLeaving && len(s.flying) == 0) {
		s.halfClosed = true
		_ = s.call.CloseSend() // Recv tells how the stream ended
	}
}

// pump sends what is due, oldest first, within the window.
func (s *stream) pump(now time.Time) {
	var batch []*pb.InteractionEvent
	flush := func() {
		if len(batch) > 0 {
			s.send(&streamRequest{Frame: &pb.StreamInteractionsRequest_EventBatch{EventBatch: &pb.EventBatch{Events: batch}}})
			batch = nil
		}
	}
	for _, held := range s.outbox.held {
		sequence := held.event.Sequence
		if _, isFlying := s.flying[sequence]; isFlying || held.due.After(now) {
			continue
		}
		fits := len(s.flying) < int(s.window.MaxUnackedEvents) && s.flyingBytes+held.bytes <= s.window.MaxUnackedBytes
		if !fits && len(s.flying) > 0 { // one event alone may always go
			break
		}
		s.flying[sequence] = held.bytes
		s.flyingBytes += held.bytes
		if batch = append(batch, held.event); len(batch) == s.maxBatch {
			flush()
		}
	}
	flush()
}

func (s *stream) send(frame *streamRequest) {
	if !s.halfClosed {
		_ = s.call.Send(frame) // Recv tells how the stream ended
	}
}

func (s *stream) receive(response *streamResponse) {
	switch frame := response.Frame.(type) {
	case *pb.StreamInteractionsResponse_Welcome:
		s.welcome(frame.Welcome)
	case *pb.StreamInteractionsResponse_EventAckBatch:
		s.attempt = 0
		for _, run := range frame.EventAckBatch.Ranges {
			for sequence := range s.flying {
				if run.First <= sequence && sequence <= run.Last {
					s.land(sequence)
					s.outbox.settle(sequence, run.Status)
				}
			}
		}
		for _, ack := range frame.EventAckBatch.Exceptions { // successes too, of what was sent a second time
			s.land(ack.Sequence)
			s.outbox.judge(ack)
		}
	case *pb.StreamInteractionsResponse_FlowControl:
		s.flow(frame.FlowControl)
	case *pb.StreamInteractionsResponse_HeartbeatAck:
		s.unanswered, s.attempt = 0, 0
		s.flow(frame.HeartbeatAck.FlowControl)
	case *pb.StreamInteractionsResponse_RoutingUpdate:
		s.route(frame.RoutingUpdate)
	case *pb.StreamInteractionsResponse_DrainNotice:
		s.drain = frame.DrainNotice
		if s.drain.Reason != pb.DrainReason_DRAIN_REASON_FENCED {
			s.leaveAt = time.Now().Add(s.drain.ReconnectDelay.AsDuration())
		}
	case *pb.StreamInteractionsResponse_ServerNotice:
		log.Printf("notice: %s %s", frame.ServerNotice.Code, frame.ServerNotice.Message)
	}
}

func (s *stream) welcome(welcome *pb.Welcome) {
	s.sessionID = welcome.SessionId
	s.maxBatch = cmp.Or(int(welcome.Config.GetMaxBatchEvents()), 500)
	s.interval = cmp.Or(welcome.Config.GetHeartbeatInterval().AsDuration(), 15*time.Second)
	s.beatAt = time.Now().Add(s.interval)
	// What has no verdict is sent again, also at or below ResumeAfterSequence: a verdict that was lost may have been a refusal.
	s.flow(welcome.FlowControl)
	if welcome.Routing != nil {
		s.route(welcome.Routing)
	}
}

func (s *stream) route(update *pb.RoutingUpdate) {
	s.send(&streamRequest{Frame: &pb.StreamInteractionsRequest_RoutingAck{RoutingAck: s.routes.take(update)}})
}

func (s *stream) land(sequence uint64) {
	s.flyingBytes -= s.flying[sequence]
	delete(s.flying, sequence)
}

// flow takes a window over; versions count within one stream.
func (s *stream) flow(flow *pb.FlowControl) {
	if flow != nil && (s.window == nil || flow.Version >= s.window.Version) {
		s.window = flow
	}
}
