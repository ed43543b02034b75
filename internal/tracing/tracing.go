// Package tracing tells an OpenTelemetry collector what the service does and how
// long each part takes. It is off unless the configuration names a collector: then
// New returns nil, and what a nil Tracer puts before a handler or a call is
// nothing at all. Spans hold routes, resources, reasons and results, and never a
// person, a token, a query or anything else that a stranger could write at length.
package tracing

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/limit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

const (
	exportTimeout = 10 * time.Second
	nagPeriod     = time.Minute
	// forcedTraces bounds the traces a minute that are recorded because a request
	// says so: some gateways pass a client's traceparent on.
	forcedTraces = 6000
)

// Tracer makes spans. Nil makes none.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	parent   propagation.TraceContext
	always   bool // spans may begin here, not only at a gateway
}

// Options are what the configuration does not say.
type Options struct {
	Version string
	Logger  *slog.Logger
	// Failed is called for each batch that the collector did not take.
	Failed func()
	Now    func() time.Time
	// Exporter takes the spans in place of the collector, for tests.
	Exporter sdk.SpanExporter
}

// New returns a tracer, nil if the configuration names no collector. It opens no connection.
func New(c Config, o Options) (*Tracer, error) {
	if c.OTLP.Endpoint == "" {
		return nil, nil
	}
	exporter := o.Exporter
	if exporter == nil {
		var err error
		if exporter, err = otlp(c); err != nil {
			return nil, err
		}
	}
	watched := &watchedExporter{SpanExporter: exporter, endpoint: c.OTLP.Endpoint, log: o.Logger, failed: o.Failed}
	p := sdk.NewTracerProvider(
		sdk.WithBatcher(watched, sdk.WithExportTimeout(exportTimeout)),
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", "mcp-forward-auth"), attribute.String("service.version", o.Version))),
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(c.Ratio),
			sdk.WithRemoteParentSampled(&bounded{limit.New(limit.PerMinute(forcedTraces), 1, o.Now)}))),
	)
	return &Tracer{provider: p, tracer: p.Tracer("github.com/mcp-forward-auth/mcp-forward-auth"), always: c.Ratio > 0}, nil
}

// Try sends the collector a batch without a span, and returns why it does not accept that.
func Try(ctx context.Context, c Config) error {
	client := otlptracehttp.NewClient(append(options(c), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}))...)
	if err := client.Start(ctx); err != nil {
		return err
	}
	return errors.Join(client.UploadTraces(ctx, nil), client.Stop(ctx))
}

func otlp(c Config) (sdk.SpanExporter, error) {
	exporter, err := otlptracehttp.New(context.Background(), options(c)...)
	if err != nil {
		return nil, fmt.Errorf("tracing.otlp: %w", err)
	}
	return exporter, nil
}

// options are how the collector is reached.
func options(c Config) []otlptracehttp.Option {
	headers := map[string]string{}
	for name, value := range c.OTLP.Headers {
		headers[name] = value.Reveal()
	}
	options := []otlptracehttp.Option{
		otlptracehttp.WithEndpointURL(c.OTLP.Endpoint), otlptracehttp.WithHeaders(headers),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression), otlptracehttp.WithTimeout(exportTimeout),
	}
	if len(c.OTLP.Authorities) > 0 {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(c.OTLP.Authorities) // Load has checked it
		options = append(options, otlptracehttp.WithTLSClientConfig(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}))
	}
	return options
}

// Close sends what waits, within the bounds of ctx.
func (t *Tracer) Close(ctx context.Context) {
	if t != nil {
		_ = t.provider.Shutdown(ctx) // the exporter has said what failed
	}
}

// watchedExporter counts what the collector does not take, and says so once in a
// while. The spans are lost; nothing waits for them.
type watchedExporter struct {
	sdk.SpanExporter
	endpoint string
	log      *slog.Logger
	failed   func()
	nagged   atomic.Int64 // Unix seconds
}

func (e *watchedExporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	e.failed()
	now, last := time.Now().Unix(), e.nagged.Load()
	if now-last >= int64(nagPeriod/time.Second) && e.nagged.CompareAndSwap(last, now) {
		e.log.Warn("the collector does not take traces; they are lost", "endpoint", e.endpoint, "error", err)
	}
	return nil
}

// bounded limits how many of the traces that the gateway asks for are recorded.
type bounded struct{ limit *limit.Limiter }

func (s *bounded) ShouldSample(p sdk.SamplingParameters) sdk.SamplingResult {
	if ok, _ := s.limit.Allow(""); ok {
		return sdk.AlwaysSample().ShouldSample(p)
	}
	return sdk.NeverSample().ShouldSample(p)
}

func (*bounded) Description() string { return "remote parent, bounded" }

// begins reports whether a request with these headers can have a span at all.
func (t *Tracer) begins(traceparent []string) bool { return t.always || len(traceparent) == 1 }

// Handler puts a span around each request to next. Its name is the pattern that served it.
func (t *Tracer) Handler(next http.Handler) http.Handler {
	if t == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !t.begins(r.Header["Traceparent"]) {
			next.ServeHTTP(w, r)
			return
		}
		ctx := t.parent.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := t.tracer.Start(ctx, "request", trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		if !span.IsRecording() {
			next.ServeHTTP(w, r.WithContext(ctx))
			return
		}
		rec := &web.StatusRecorder{ResponseWriter: w, Status: http.StatusOK}
		r = r.WithContext(ctx)
		next.ServeHTTP(rec, r)
		method := knownMethod(r.Method)
		span.SetName(method + " " + r.Pattern)
		span.SetAttributes(
			attribute.String("http.request.method", method), attribute.String("http.route", r.Pattern), attribute.Int("http.response.status_code", rec.Status),
		)
		if rec.Status >= 500 {
			span.SetStatus(codes.Error, "")
		}
	})
}

// knownMethod is the method if HTTP knows it; a client can send any word.
func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "_OTHER"
}

// Decision is forwardauth.Endpoint.Trace; nil if t is, so that a decision costs nothing more.
func (t *Tracer) Decision() func(context.Context, forwardauth.TraceContext) (context.Context, func(forwardauth.Outcome)) {
	if t == nil {
		return nil
	}
	return func(ctx context.Context, parent forwardauth.TraceContext) (context.Context, func(forwardauth.Outcome)) {
		if !t.begins(parent.Parent) {
			return ctx, nothing
		}
		ctx = t.parent.Extract(ctx, carrier(parent))
		ctx, span := t.tracer.Start(ctx, "forward-auth decision", trace.WithSpanKind(trace.SpanKindServer))
		return ctx, func(o forwardauth.Outcome) {
			if span.IsRecording() {
				span.SetAttributes(attribute.String("mcp_forward_auth.reason", o.Reason.String()), attribute.String("mcp_forward_auth.dialect", o.Dialect.String()),
					attribute.Bool("mcp_forward_auth.token_known", o.Lookup == forwardauth.Hit))
				if o.Resource != nil {
					span.SetAttributes(attribute.String("mcp_forward_auth.resource", o.Resource.URI))
				}
				// The client's own trace, which any client may claim to be part of, is no parent.
				client := t.parent.Extract(context.Background(), propagation.MapCarrier{"traceparent": o.ClientTrace})
				if at := trace.SpanContextFromContext(client); at.IsValid() {
					span.AddLink(trace.Link{SpanContext: at})
				}
			}
			span.End()
		}
	}
}

func nothing(forwardauth.Outcome) {}

// carrier reads a trace context out of the headers that a gateway sent.
type carrier forwardauth.TraceContext

func (c carrier) Get(key string) string {
	lines := c.State
	if key == "traceparent" {
		lines = c.Parent
	}
	if len(lines) != 1 {
		return "" // W3C Trace Context, section 3.2: more than one is none
	}
	return lines[0]
}
func (carrier) Set(string, string) {}
func (carrier) Keys() []string     { return nil }

// Call begins a span for a question to something else and returns what ends it.
// kind and operation are of a closed set.
func (t *Tracer) Call(ctx context.Context, kind, operation string, attributes ...attribute.KeyValue) (context.Context, func(result string, failed bool)) {
	if t == nil || !t.always && !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx, func(string, bool) {}
	}
	ctx, span := t.tracer.Start(ctx, kind+" "+operation, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
	return ctx, func(result string, failed bool) {
		span.SetAttributes(attribute.String("mcp_forward_auth.result", result))
		if failed {
			span.SetStatus(codes.Error, result)
		}
		span.End()
	}
}

// Note adds an audit entry to the span of ctx: what happened, not to whom.
func (t *Tracer) Note(ctx context.Context, e audit.Entry) {
	if t == nil {
		return
	}
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	attributes := []attribute.KeyValue{attribute.String("mcp_forward_auth.event", string(e.Event))}
	for key, value := range map[string]string{"reason": string(e.Reason), "step": string(e.Step), "flow": e.Flow, "resource": e.Resource} {
		if value != "" {
			attributes = append(attributes, attribute.String("mcp_forward_auth."+key, value))
		}
	}
	span.SetAttributes(attributes...)
	span.AddEvent(string(e.Event))
}

// ID is audit.Log.Trace; nil if t is.
func (t *Tracer) ID() func(context.Context) string {
	if t == nil {
		return nil
	}
	return func(ctx context.Context) string {
		if c := trace.SpanContextFromContext(ctx); c.IsSampled() {
			return c.TraceID().String()
		}
		return ""
	}
}
