package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"time"

	"google.golang.org/protobuf/proto"

	pb "example.org/mcp-coordinator-client/gen/mcp/coordinator/v1"
)

// One body. The coordinator takes 4 MiB, and one event has 256 KiB at most.
const (
	postMaxEvents = 100
	postMaxBytes  = 1 << 20
	answerMax     = 4 << 20
)

var client = http.Client{Timeout: 5 * time.Second}

// post reports what is held over HTTP. After any failure the same events may go again, on either way.
func (r *reporter) post() error {
	report := &pb.ReportInteractionsRequest{McpId: r.mcpID, ProducerId: r.producerID}
	now, size := time.Now(), uint64(0)
	for _, held := range r.outbox.held {
		if held.due.After(now) {
			continue
		}
		if size += held.bytes; len(report.Events) == postMaxEvents || len(report.Events) > 0 && size > postMaxBytes {
			break
		}
		report.Events = append(report.Events, held.event)
	}
	if len(report.Events) == 0 {
		return nil
	}
	body, err := proto.Marshal(report)
	if err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodPost, r.web+"/mcp.coordinator.v1.InteractionService/ReportInteractions", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("content-type", "application/proto")
	if r.key != "" {
		request.Header.Set("authorization", "Bearer "+r.key)
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if body, err = io.ReadAll(io.LimitReader(answer.Body, answerMax)); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s", answer.Status, body)
	}
	verdicts := &pb.ReportInteractionsResponse{}
	if err := proto.Unmarshal(body, verdicts); err != nil {
		return err
	}
	for _, ack := range verdicts.Acks {
		r.outbox.judge(ack)
	}
	return nil
}
