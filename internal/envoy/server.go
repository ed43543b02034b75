// Package envoy answers gateways over gRPC: envoy.service.auth.v3 for the decision
// about a request (Envoy, Envoy Gateway, Istio, Contour, agentgateway and others),
// envoy.service.ext_proc.v3 for what an answer may show, and agentgateway's ext_mcp for
// both of a single message. It only translates: Envoy's question becomes a
// forwardauth.Request, the Decision becomes a CheckResponse, header for header. An
// answer that could be appended to what the client sent, instead of replacing it, is
// never given.
//
// The messages are read and written field by field, without types generated
// from Envoy's many files: a decision looks at seven of the fields, and those
// types cost more than the decision, and a tenth of the program's size. The
// tests ask with the generated types.
package envoy

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // the codec of all other messages
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/tap"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/filter"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
)

// Bounds of the listener. An unfinished question takes some 12 KB, and a
// connection some 80 KB, so all together stay below 250 MB.
const (
	// MostConnections is how many connections there may be at once.
	MostConnections = 512
	// maxStreams is for each connection. A gateway opens another connection for more
	// concurrent questions.
	maxStreams = 32
	// maxHeaderBytes is for the headers of a question: the client's are in its message.
	maxHeaderBytes = 16 << 10
	// maxMessageBytes is a body of 1 MiB, which is the most that a decision reads, with
	// the headers of the client's request.
	maxMessageBytes   = 1<<20 + 256<<10
	connectionTimeout = 5 * time.Second
	// questionTime is how long a question may take to arrive and to be answered.
	questionTime = 5 * time.Second
	idleTimeout  = 5 * time.Minute
	// A peer that does not answer within pingTimeout, after a silence of pingPeriod, is gone.
	pingPeriod  = time.Minute
	pingTimeout = 20 * time.Second
	// leastPing is the shortest interval at which a gateway may ping this service.
	leastPing = 10 * time.Second
	// A window of a fixed size: to find the best one grpc-go would measure the
	// round trip with a ping for each question.
	streamWindow     = 256 << 10
	connectionWindow = 4 << 20
)

// Options are the settings of the server.
func Options() []grpc.ServerOption { return options(questionTime) }

func options(most time.Duration) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(connectionTimeout),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleTimeout, Time: pingPeriod, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: leastPing, PermitWithoutStream: true}),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connectionWindow),
		grpc.NumStreamWorkers(uint32(runtime.GOMAXPROCS(0))), // a new goroutine would first have to grow its stack
		grpc.InTapHandle(within(most)),
	}
}

// within ends a call that takes longer than questionTime, and a stream whose message
// does not come. Envoy mostly sets a shorter deadline itself, and then no timer is
// made.
func within(most time.Duration) tap.ServerInHandle {
	return func(ctx context.Context, info *tap.Info) (context.Context, error) {
		if info.FullMethodName == "/"+procServiceName+"/Process" {
			return untilFirst(ctx, most), nil
		}
		if end, ok := ctx.Deadline(); ok && time.Until(end) <= most {
			return ctx, nil
		}
		ctx, cancel := context.WithTimeout(ctx, most)
		_ = cancel // the end of the stream, which ends the parent, does the same
		return ctx, nil
	}
}

// Decider makes the decision; the service in force is the one there is.
type Decider interface {
	Decide(ctx context.Context, q *forwardauth.Request) forwardauth.Decision
}

// Reader tells which entries of lists the answer to a request may show, and whether it
// may hold a list; see forwardauth.Endpoint.Reads. ok is false for a request that is
// denied, or whose purpose is unknown. v is comparable.
type Reader func(ctx context.Context, q *forwardauth.Request) (v filter.View, lists, ok bool)

// NewServer returns a gRPC server with the Authorization, ExternalProcessor, ExtMcp
// and Health services.
func NewServer(decisions Decider, reads Reader, log *slog.Logger) *grpc.Server {
	return newServer(decisions, reads, log, questionTime)
}

func newServer(decisions Decider, reads Reader, log *slog.Logger, most time.Duration) *grpc.Server {
	s := grpc.NewServer(append(options(most), grpc.ForceServerCodecV2(codec{encoding.GetCodecV2("proto")}))...)
	named, lists := namedBy(decisions), new(filter.Cache)
	s.RegisterService(&authorization, &service{decisions, log, traced(decisions), named})
	s.RegisterService(&processor, &processing{decisions: decisions, reads: reads, named: named, log: log, lists: lists})
	s.RegisterService(&extMCP, &messages{decisions: decisions, reads: reads, named: named, log: log, traced: traced(decisions), lists: lists})
	healthpb.RegisterHealthServer(s, health.NewServer())
	return s
}

// codec reads questions and writes answers; the health service's messages use the
// standard codec.
type codec struct{ encoding.CodecV2 }

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	read, ok := v.(interface{ read(message []byte) error })
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	return read.read(buf.ReadOnlyData())
}

func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	out, ok := v.(message)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	return mem.BufferSlice{mem.SliceBuffer(out)}, nil
}
