package server

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/gatewatch"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/relay"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

var update = flag.Bool("update", false, "write the reference pages")

// filled is the registry after every metric has a value.
func filled(t *testing.T) *metrics {
	t.Helper()
	keys, err := keyset.New(keyset.Options{Sources: []keyset.Source{keyset.Ephemeral{}}, Period: time.Hour, TokenLifetime: time.Hour, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	m := newMetrics("test")
	m.watchKeys(keys, time.Now)
	m.watchLoad(&load{inFlight: new(atomic.Int64)}, everyRoute())
	m.instrument(http.NewServeMux()).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	m.catalogueFetch("ok", time.Millisecond)
	m.toolChanges.WithLabelValues("https://mcp.example.com/mcp").Set(1)
	table, err := resource.NewTable([]resource.Entry{{Host: "mcp.example.com", Scheme: "https", Path: "/mcp", Endpoint: &url.URL{Scheme: "http", Host: "mcp", Path: "/mcp"}}})
	if err != nil {
		t.Fatal(err)
	}
	m.watchResources(table, func(*resource.Resource) bool { return true })
	m.watchGates(gatewatch.New(gatewatch.Config{Enabled: true, Interval: time.Minute}, gatewatch.Options{Table: table}))
	m.usersBroken.WithLabelValues("staff").Set(0)
	m.issuerKeys(jwks.Fetch{Issuer: "https://as.example.com", Keys: 1})
	m.watchProvider(connector.Config{Name: "google"}, nil, slog.New(slog.DiscardHandler))
	m.watchTokens(func() int { return 0 })
	m.watchProofs(func() int { return 0 })
	m.watchRelay(new(relay.Endpoint), func() int { return 0 })
	m.watchCertificates()
	m.decision(forwardauth.Outcome{Reason: forwardauth.Allowed, Dialect: forwardauth.NGINX, Resource: table.All()[0], Proven: true, Lookup: forwardauth.Hit})
	return m
}

// TestMetricsReference holds docs/reference/metrics.md to the registry.
func TestMetricsReference(t *testing.T) {
	m := filled(t)
	m.seeds([]string{"0a1b2c3d"})
	families, err := m.make.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	var b strings.Builder
	b.WriteString("# Metrics\n\nServed at `/metrics` of the management listener. Generated from the code; do not edit.\nBesides these there are the usual `go_` and `process_` metrics.\n\n| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n")
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "mcp_forward_auth_") {
			continue
		}
		labels := map[string]bool{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels["`"+l.GetName()+"`"] = true
			}
		}
		names := strings.Join(slices.Sorted(maps.Keys(labels)), ", ")
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), names, f.GetHelp())
	}
	compare(t, "../../docs/reference/metrics.md", b.String())
}

// TestAuditReference holds docs/reference/audit.md to package audit, and the
// reasons of decisions to the closed set.
func TestAuditReference(t *testing.T) {
	for _, r := range forwardauth.Reasons() {
		if reasons.Reason(r.String()).Meaning() == "" {
			t.Errorf("package reasons lacks %s", r)
		}
	}
	var b strings.Builder
	b.WriteString("# Audit log\n\nOne JSON object a line. Generated from the code; do not edit. Entries hold no token, code, secret or sealed value.\n\n" +
		"```json\n" + `{"time":"2026-01-02T03:04:05.678901234Z","level":"INFO","msg":"audit","audit":{"schema":"1","event":"access.denied","reason":"insufficient_scope","subject":"google:1234","client":"https://app.example.com/client.json","host":"mcp.example.com","resource":"https://mcp.example.com/mcp","scope":"notes:write","mcp_method":"tools/call","mcp_tool":"notes_add","token_id":"…"}}` + "\n```\n\n" +
		"The entry is the member `audit`; `time` and `level` are those of the log line. Where the log goes: `audit.file` in the [configuration](config.md).\n\n" +
		fmt.Sprintf("## How much is written\n\nFor each event and reason at a host, %d refusals and %d steps of sign-ins a minute are written where the person is not known, at most %d a minute in all, and %d about each known person (`subject`). ", auditRefusals, auditSteps, auditStrangers, auditPersons) +
		"The rest is counted: once a minute one entry for each event, reason, host and person has the number in `count`. With `logging.level: debug` every entry is written, at that level. " +
		"Requests without a token, and those of the gate watch, are written at debug level only. What the client itself says (`mcp_method`, `mcp_tool`) stands there only beside a good token. The [metrics](metrics.md) count everything.\n\n" +
		"## Fields\n\nWithin one schema version fields, events and reasons may be added; none changes its name or meaning.\n\n| Field | Meaning |\n|---|---|\n")
	for _, f := range audit.Fields {
		fmt.Fprintf(&b, "| `%s` | %s |\n", f.Name, f.Meaning)
	}
	b.WriteString("\n## Events\n\n")
	for _, e := range audit.Events {
		fmt.Fprintf(&b, "- `%s`\n", e)
	}
	b.WriteString("\n## Steps of a sign-in\n\nIn the member `step`, in this order:\n\n")
	for _, s := range audit.Steps {
		fmt.Fprintf(&b, "- `%s`\n", s)
	}
	b.WriteString("\n## Reasons\n\n`mcp-forward-auth explain` says the same of an entry, or of a whole sign-in.\n\n| Reason | Meaning | What to do |\n|---|---|---|\n")
	for _, r := range reasons.All() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r, r.Meaning(), r.Remedy())
	}
	compare(t, "../../docs/reference/audit.md", b.String())
}

func compare(t *testing.T, name, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(got, []byte(want)) {
		t.Errorf("%s is not what the code says (%v); run: go test ./internal/server -run Reference -update", name, err)
	}
}

func TestPanic(t *testing.T) {
	panics := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a bug") })
	var log bytes.Buffer
	h := protocol(slog.New(slog.NewTextHandler(&log, nil)), nil, panics, nil, panics)
	for _, path := range []string{"/authenticate", "/authenticate/x", "/token", "/"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 500 || strings.Contains(w.Body.String(), "a bug") || !strings.Contains(log.String(), "a bug") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		log.Reset()
	}
}
