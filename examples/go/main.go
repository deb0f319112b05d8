// An MCP that reports interaction events to a coordinator. Reads one event per line on stdin, as proto3 JSON; ends when stdin ends.
package main

import (
	"bufio"
	"flag"
	"log"
	"math/rand/v2"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/encoding/protojson"

	pb "example.org/mcp-coordinator-client/gen/mcp/coordinator/v1"
)

const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 30 * time.Second
	httpAfter    = 2 * time.Second // without a session
	connectMax   = 5 * time.Second
	maxHeld      = 100_000 // events without a verdict; above it stdin waits
)

type reporter struct {
	target, web, mcpID, producerID, key string

	events    chan *pb.InteractionEvent // closed when there are no more
	leftOut   int                       // lines of stdin that are no events; read when events is closed
	outbox    *outbox
	routes    routes
	sessionID string
	upAt      time.Time // when a session was last up
	attempt   int       // reconnects since the last ack or answered heartbeat
}

func main() {
	r := &reporter{key: os.Getenv("MCPC_KEY"), events: make(chan *pb.InteractionEvent, 1000), upAt: time.Now()}
	var ledger string
	flag.StringVar(&r.target, "target", "localhost:50051", "host:port of gRPC")
	flag.StringVar(&r.web, "web", "http://localhost:8080", "URL of the web port")
	flag.StringVar(&r.mcpID, "mcp-id", "", "the MCP")
	flag.StringVar(&r.producerID, "producer-id", "", "this process, the same after a restart")
	flag.StringVar(&ledger, "ledger", "ledger.jsonl", "file for what was sent and acknowledged")
	flag.Parse()
	var err error
	if r.outbox, err = openOutbox(ledger, r.mcpID); err != nil {
		log.Fatal(err)
	}
	go r.readStdin()
	r.run()
	if r.leftOut > 0 {
		log.Fatalf("%d lines were no events", r.leftOut)
	}
}

func (r *reporter) readStdin() {
	defer close(r.events)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		event := &pb.InteractionEvent{}
		if err := protojson.Unmarshal(lines.Bytes(), event); err != nil {
			log.Printf("left out, not an event: %v", err)
			r.leftOut++
			continue
		}
		r.events <- event
	}
	if err := lines.Err(); err != nil { // what follows cannot be read; what came before is delivered
		log.Printf("stdin: %v", err)
		r.leftOut++
	}
}

// inbox is stdin while there is room. A nil channel never delivers.
func (r *reporter) inbox() <-chan *pb.InteractionEvent {
	if len(r.outbox.held) >= maxHeld {
		return nil
	}
	return r.events
}

// take books an event of stdin, or that there are no more.
func (r *reporter) take(event *pb.InteractionEvent, ok bool) {
	if ok {
		r.outbox.add(event)
	} else {
		r.events = nil // a nil channel never delivers
	}
}

func (r *reporter) isDone() bool { return r.events == nil && r.outbox.isEmpty() }

func (r *reporter) run() {
	for !r.isDone() {
		r.rest(r.session())
	}
}

// session opens a fresh connection, carries one stream to its end, and says how long to wait for the next.
func (r *reporter) session() time.Duration {
	connection, err := grpc.NewClient(r.target,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry(),
		// Without it an address that swallows everything holds a stream up for 20 s.
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectMax}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 60 * time.Second, Timeout: 20 * time.Second}))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	if delay, isTold := runStream(r, pb.NewInteractionServiceClient(connection)); isTold {
		return delay
	}
	limit := min(maxBackoff, firstBackoff<<min(r.attempt, 10))
	r.attempt++
	return rand.N(limit) // full jitter
}

// rest waits for the next attempt. Without a session for long, what is held goes over HTTP.
func (r *reporter) rest(delay time.Duration) {
	for timer := time.After(delay); !r.isDone(); {
		select {
		case event, ok := <-r.inbox():
			r.take(event, ok)
			continue
		case <-timer:
		}
		break
	}
	if time.Since(r.upAt) <= httpAfter {
		return
	}
	for before := -1; len(r.outbox.held) != before; { // as long as it helps
		before = len(r.outbox.held)
		if err := r.post(); err != nil {
			log.Printf("HTTP: %v", err)
			return
		}
	}
}
