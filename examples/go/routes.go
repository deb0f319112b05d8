package main

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	pb "example.org/mcp-coordinator-client/gen/mcp/coordinator/v1"
)

// routes is the table in force. A table is applied as a whole or not at all.
type routes struct {
	table   map[string]*pb.Route
	applied *pb.AppliedRoutes
}

const (
	content    = pb.RoutingRejection_ROUTING_REJECTION_CONTENT
	outOfSync  = pb.RoutingRejection_ROUTING_REJECTION_OUT_OF_SYNC
	staleEpoch = pb.RoutingRejection_ROUTING_REJECTION_STALE_EPOCH
)

// take judges an update, applies it when it may be, and gives the ack.
func (r *routes) take(update *pb.RoutingUpdate) *pb.RoutingAck {
	rejection, reason := r.judge(update)
	ack := &pb.RoutingAck{Nonce: update.Nonce, Status: pb.ApplyStatus_APPLY_STATUS_APPLIED, Applied: r.applied}
	if reason != "" {
		ack.Status, ack.Rejection = pb.ApplyStatus_APPLY_STATUS_REJECTED, rejection
		ack.Rejected = []*pb.RouteVerdict{{Reason: reason}}
	}
	return ack
}

func (r *routes) judge(update *pb.RoutingUpdate) (pb.RoutingRejection, string) {
	now := r.applied
	if now != nil && update.Term < now.Term {
		return staleEpoch, "a newer term is in force"
	}
	if now != nil && update.Term == now.Term && update.Version <= now.Version {
		return 0, "" // nothing to do
	}
	table := map[string]*pb.Route{}
	if delta := update.GetDelta(); delta != nil {
		if now == nil || update.Term != now.Term || delta.BaseVersion != now.Version {
			return outOfSync, "the base is not in force"
		}
		maps.Copy(table, r.table)
		for _, id := range delta.Remove {
			delete(table, id)
		}
		for _, route := range delta.Upsert {
			table[route.McpId] = route
		}
	}
	for _, route := range update.GetFull().GetRoutes() {
		table[route.McpId] = route
	}
	digest, total := digestOf(table)
	if digest != update.Digest {
		return outOfSync, "the digest is not that of the table"
	}
	if total != 0 && total != 10_000 {
		return content, fmt.Sprintf("the weights sum to %d", total)
	}
	r.table, r.applied = table, &pb.AppliedRoutes{Term: update.Term, Version: update.Version, Digest: digest}
	return 0, ""
}

func digestOf(table map[string]*pb.Route) (digest uint64, total uint32) {
	hash := sha256.New()
	for _, id := range slices.Sorted(maps.Keys(table)) { // strings of Go sort by bytes
		route := table[id]
		fmt.Fprintf(hash, "%s\t%d\t%d\n", id, route.Weight, route.State)
		total += route.Weight
	}
	return binary.BigEndian.Uint64(hash.Sum(nil)), total
}
