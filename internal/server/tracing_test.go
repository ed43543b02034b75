package server_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/tracing"
)

// spans keeps what is exported when the service stops.
type spans struct{ *tracetest.InMemoryExporter }

func (spans) Shutdown(context.Context) error { return nil }

var _ sdktrace.SpanExporter = spans{}

// TestTraces signs in with each kind of provider, every trace recorded, and looks
// at the spans: each part has one, and none names the person or holds a secret.
func TestTraces(t *testing.T) {
	t.Parallel()
	for name, o := range providers(t) {
		t.Run("ATK-57 "+name, func(t *testing.T) {
			t.Parallel()
			recorded := spans{tracetest.NewInMemoryExporter()}
			o.Spans = recorded
			o.Edit = servertest.Edits(orNothing(o.Edit), func(f *config.File) {
				f.Tracing = tracing.Config{OTLP: tracing.OTLP{Endpoint: "http://collector.invalid:4318"}, Ratio: 1}
			})
			s := servertest.Start(t, o)
			b := s.NewBrowser()
			c := s.NewClient(t, servertest.Host, servertest.Metadata{})
			a := c.Begin().With("state", "a-state-that-is-secret")
			page := b.Submit(t, b.Consent(t, a.URL()), "decision", "allow")
			code := a.Accept(t, b.Walk(t, page, c.RedirectURI))
			token := a.Exchange(t, code).String("access_token")
			s.MustPass(t, servertest.Resource, token)
			issued := s.Log.Last(audit.TokenIssued)
			s.Stop()

			found, text := map[string]bool{}, ""
			trace := ""
			for _, span := range recorded.GetSpans() {
				found[span.Name] = true
				text += fmt.Sprintln(span.Name, span.Attributes, span.Events, span.Status)
				if span.Name == "POST /token" {
					trace = span.SpanContext.TraceID().String()
				}
			}
			call := "provider identify"
			if name == "static" {
				call = "provider authenticate"
			}
			for _, want := range []string{"POST /register", "GET /authorize", "POST /consent", "POST /token", "forward-auth decision", "catalogue fetch", "guard redeem", call} {
				if !found[want] {
					t.Errorf("there is no span %q", want)
				}
			}
			for what, secret := range map[string]string{
				"state": a.State(), "verifier": a.Verifier, "code": code, "token": token, "address": servertest.Email,
				"subject": issued["subject"], "user": servertest.Username, "password": servertest.Password,
			} {
				if secret != "" && strings.Contains(text, secret) {
					t.Errorf("the spans hold the %s", what)
				}
			}
			if !strings.Contains(text, issued["flow"]) {
				t.Error("the spans do not name the flow")
			}
			if issued["trace"] == "" || issued["trace"] != trace {
				t.Errorf("the audit entry is of trace %q, the span of %q", issued["trace"], trace)
			}
		})
	}
}

func orNothing(edit func(*config.File)) func(*config.File) {
	if edit == nil {
		return func(*config.File) {}
	}
	return edit
}

// TestGatewayTrace: the decision is part of the trace that the gateway began.
func TestGatewayTrace(t *testing.T) {
	t.Parallel()
	recorded := spans{tracetest.NewInMemoryExporter()}
	s := servertest.Start(t, servertest.Options{Spans: recorded, Edit: func(f *config.File) {
		f.Tracing.OTLP.Endpoint = "http://collector.invalid:4318"
	}})
	for _, traceparent := range []string{"", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+s.Address()+"/authenticate/forwarded", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-Host", servertest.Host)
		req.Header.Set("X-Forwarded-Uri", "/mcp")
		req.Header.Set("X-Forwarded-Method", "POST")
		if traceparent != "" {
			req.Header.Set("Traceparent", traceparent)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != 401 {
			t.Fatalf("%v %v", resp, err)
		}
		resp.Body.Close()
	}
	s.Stop()
	got := recorded.GetSpans()
	if len(got) != 1 || got[0].Name != "forward-auth decision" || got[0].SpanContext.TraceID().String() != "0af7651916cd43dd8448eb211c80319c" || got[0].Parent.SpanID().String() != "b7ad6b7169203331" {
		t.Fatalf("%+v", got)
	}
	if text := fmt.Sprint(got[0].Attributes); !strings.Contains(text, "no_token") || !strings.Contains(text, servertest.Resource) || !strings.Contains(text, "forwarded") {
		t.Errorf("attributes %s", text)
	}
}

// TestAuditFile: entries go to the file and nowhere else, whatever the log's level.
func TestAuditFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) {
		f.Audit.File = path
		f.Logging.Level = "error"
	}})
	s.NewClient(t, servertest.Host, servertest.Metadata{})
	s.MustNotPass(t, servertest.Resource, "not.a.token", "invalid_token")
	_, metrics := s.Management(t, "/metrics")
	s.Stop()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"event":"client.registered"`, `"event":"access.denied","reason":"malformed_token"`, `"audit":{"schema":"1",`} {
		if !strings.Contains(string(content), want) {
			t.Errorf("no %s in\n%s", want, content)
		}
	}
	if strings.Contains(s.Log.String(), `"audit"`) {
		t.Error("entries are in the log as well")
	}
	if !strings.Contains(metrics, "mcp_forward_auth_audit_entries_lost_total 0\n") {
		t.Error("nothing counts what is lost")
	}
}
