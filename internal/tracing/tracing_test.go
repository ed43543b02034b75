package tracing

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
)

func tracer(t *testing.T, c Config, o Options) *Tracer {
	t.Helper()
	o.Now, o.Version = time.Now, "test"
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	tr, err := New(c, o)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// TestCollector sends to a stand-in of a collector, which reads the protobuf.
func TestCollector(t *testing.T) {
	var mu sync.Mutex
	var got []*collector.ExportTraceServiceRequest
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			body, _ = gzip.NewReader(r.Body)
		}
		data, err := io.ReadAll(body)
		var m collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(data, &m)
		}
		if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" || r.Header.Get("X-Api-Key") != "a key" {
			t.Errorf("%v %s %v", err, r.URL, r.Header)
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, &m)
	}))
	defer srv.Close()
	tr := tracer(t, Config{OTLP: OTLP{Endpoint: srv.URL + "/v1/traces", Headers: map[string]conf.Secret{"X-Api-Key": conf.NewSecret("a key")}}}, Options{})

	mux := http.NewServeMux()
	mux.HandleFunc("GET /callback", func(w http.ResponseWriter, r *http.Request) {
		_, done := tr.Call(r.Context(), "provider", "identify")
		done("unavailable", true)
		w.WriteHeader(503)
	})
	r := httptest.NewRequest("GET", "/callback?code=secret-code&state=secret-state", nil)
	r.Header.Set("Traceparent", parent)
	tr.Handler(mux).ServeHTTP(httptest.NewRecorder(), r)
	tr.Close(t.Context())

	if len(got) != 1 || len(got[0].ResourceSpans) != 1 || len(got[0].ResourceSpans[0].ScopeSpans) != 1 {
		t.Fatalf("got %v", got)
	}
	spans := got[0].ResourceSpans[0].ScopeSpans[0].Spans
	if len(spans) != 2 || spans[0].Name != "provider identify" || spans[1].Name != "GET GET /callback" && spans[1].Name != "GET /callback" {
		t.Fatalf("spans %v", spans)
	}
	inner, outer := spans[0], spans[1]
	if string(outer.ParentSpanId) != "\xb7\xad\x6b\x71\x69\x20\x33\x31" || string(inner.ParentSpanId) != string(outer.SpanId) || string(inner.TraceId) != string(outer.TraceId) {
		t.Errorf("the spans are not part of the gateway's trace: %v", spans)
	}
	if outer.Status.GetCode() != 2 || inner.Status.GetCode() != 2 {
		t.Errorf("no errors: %v", spans)
	}
	if text := got[0].String(); strings.Contains(text, "secret-") || !strings.Contains(text, "mcp-forward-auth") {
		t.Errorf("%s", text)
	}
}

func TestSampling(t *testing.T) {
	const notSampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	for _, tt := range []struct {
		name        string
		ratio       float64
		traceparent []string
		want        int
	}{
		{"nobody asks", 0, nil, 0},
		{"the gateway asks", 0, []string{parent}, 1},
		{"the gateway says no", 1, []string{notSampled}, 0},
		{"all that begins here", 1, nil, 1},
		{"malformed", 0, []string{"00-zz"}, 0},
		{"two of them", 0, []string{parent, parent}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spans := tracetest.NewInMemoryExporter()
			tr := tracer(t, Config{OTLP: OTLP{Endpoint: "http://localhost"}, Ratio: tt.ratio}, Options{Exporter: keeping{spans}})
			_, done := tr.Decision()(t.Context(), forwardauth.TraceContext{Parent: tt.traceparent})
			done(forwardauth.Outcome{Reason: forwardauth.Allowed, Dialect: forwardauth.NGINX})
			tr.Close(t.Context())
			if got := len(spans.GetSpans()); got != tt.want {
				t.Errorf("%d spans, want %d", got, tt.want)
			}
		})
	}
}

// What the client wrote into its request is linked to, and decides nothing.
func TestClientTrace(t *testing.T) {
	const client = "00-11111111111111111111111111111111-2222222222222222-01"
	for written, want := range map[string]int{client: 1, "": 0, "nonsense": 0, strings.Repeat("0", 55): 0, client + "\r\nx": 0} {
		spans := tracetest.NewInMemoryExporter()
		tr := tracer(t, Config{OTLP: OTLP{Endpoint: "http://localhost"}, Ratio: 1}, Options{Exporter: keeping{spans}})
		_, done := tr.Decision()(t.Context(), forwardauth.TraceContext{})
		done(forwardauth.Outcome{Reason: forwardauth.Allowed, Dialect: forwardauth.Forwarded, ClientTrace: written})
		tr.Close(t.Context())
		got := spans.GetSpans()
		if len(got) != 1 || len(got[0].Links) != want || strings.HasPrefix(client[3:], got[0].SpanContext.TraceID().String()) {
			t.Errorf("%q: %+v", written, got)
		}
	}
}

// keeping keeps its spans when it is shut down.
type keeping struct{ *tracetest.InMemoryExporter }

func (keeping) Shutdown(context.Context) error { return nil }

// A client that has every request traced is not listened to forever.
func TestForcedTracesAreBounded(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	o := Options{Exporter: keeping{spans}}
	tr := tracer(t, Config{OTLP: OTLP{Endpoint: "http://localhost"}}, o)
	recorded := 0
	for range forcedTraces + 500 {
		_, done := tr.Decision()(t.Context(), forwardauth.TraceContext{Parent: []string{parent}})
		done(forwardauth.Outcome{})
	}
	tr.Close(t.Context())
	if recorded = len(spans.GetSpans()); recorded > forcedTraces+200 {
		t.Errorf("%d traces are recorded", recorded)
	}
	if recorded == 0 {
		t.Error("none is")
	}
}

// Off is nothing: no handler, no function, no allocation.
func TestOff(t *testing.T) {
	tr := tracer(t, Config{}, Options{})
	if tr != nil || tr.Decision() != nil || tr.ID() != nil {
		t.Fatal("there is a tracer without a collector")
	}
	h := http.NewServeMux()
	if tr.Handler(h) != http.Handler(h) {
		t.Error("the handler is wrapped")
	}
	ctx := context.Background()
	if n := testing.AllocsPerRun(100, func() {
		_, done := tr.Call(ctx, "guard", "redeem")
		done("ok", false)
	}); n > 0 {
		t.Errorf("a call allocates %v times", n)
	}
	tr.Close(ctx)
}

// A collector that does not answer is counted, and said once.
func TestFailingCollector(t *testing.T) {
	var failed atomic.Int64
	var log strings.Builder
	e := &watchedExporter{SpanExporter: brokenExporter{}, endpoint: "http://otel", log: slog.New(slog.NewTextHandler(&log, nil)), failed: func() { failed.Add(1) }}
	for range 3 {
		if err := e.ExportSpans(t.Context(), nil); err != nil {
			t.Error("the SDK would print that itself")
		}
	}
	if failed.Load() != 3 || strings.Count(log.String(), "does not take traces") != 1 {
		t.Errorf("%d failures, log %s", failed.Load(), log.String())
	}
}

type brokenExporter struct{ *tracetest.NoopExporter }

func (brokenExporter) ExportSpans(context.Context, []sdk.ReadOnlySpan) error { return errors.New("no") }
