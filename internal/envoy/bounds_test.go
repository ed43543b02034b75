package envoy

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
)

type denying struct{}

func (denying) Decide(context.Context, *forwardauth.Request) forwardauth.Decision {
	return forwardauth.Decision{Status: 403}
}

// listening serves, and returns how to connect.
func listening(t *testing.T, most time.Duration) *bufconn.Listener {
	l := bufconn.Listen(1 << 20)
	s := newServer(denying{}, nil, slog.New(slog.DiscardHandler), most)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return l
}

func connect(t *testing.T, l *bufconn.Listener) *grpc.ClientConn {
	conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// A new connection is told how many streams it may have at once.
func TestBoundsOfAConnection(t *testing.T) {
	conn, err := listening(t, questionTime).Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	framer := http2.NewFramer(conn, conn)
	if _, err := conn.Write([]byte(http2.ClientPreface)); err != nil {
		t.Fatal(err)
	}
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	frame, err := framer.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	settings, ok := frame.(*http2.SettingsFrame)
	if !ok {
		t.Fatalf("%v comes first", frame)
	}
	for id, most := range map[http2.SettingID]uint32{http2.SettingMaxConcurrentStreams: maxStreams, http2.SettingMaxHeaderListSize: maxHeaderBytes} {
		if v, ok := settings.Value(id); !ok || v > most {
			t.Errorf("%s is %d, %v", id, v, ok)
		}
	}
}

// A stream whose message does not come ends, whatever its client says about time.
func TestStreamWithoutAMessage(t *testing.T) {
	conn := connect(t, listening(t, 10*time.Millisecond))
	for name, deadline := range map[string]time.Duration{"no deadline": 0, "an hour": time.Hour} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			if deadline > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, deadline)
				defer cancel()
			}
			stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/"+serviceName+"/Check")
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.RecvMsg(new(auth.CheckResponse)); status.Code(err) == codes.OK || err == nil {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestLargeQuestions(t *testing.T) {
	client := auth.NewAuthorizationClient(connect(t, listening(t, questionTime)))
	body := func(n int) *auth.CheckRequest {
		return &auth.CheckRequest{Attributes: &auth.AttributeContext{Request: &auth.AttributeContext_Request{Http: &auth.AttributeContext_HttpRequest{RawBody: make([]byte, n)}}}}
	}
	if _, err := client.Check(t.Context(), body(1<<20)); err != nil {
		t.Errorf("the largest body: %v", err)
	}
	if _, err := client.Check(t.Context(), body(maxMessageBytes)); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a larger message: %v", err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-large", strings.Repeat("x", 2*maxHeaderBytes))
	if _, err := client.Check(ctx, body(0)); err == nil {
		t.Error("large headers are taken")
	}
}
