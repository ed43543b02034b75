package tracing

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"golang.org/x/net/http/httpguts"
)

// File is the `tracing` section.
type File struct {
	// The collector. Nothing is traced without one.
	OTLP OTLPFile `json:"otlp"`
	// Part of the traces that begin here which are recorded, 0 to 1. Where the gateway sends a traceparent, its word counts instead, for at most 100 traces a second. Default 0.
	SamplingRatio *float64 `json:"samplingRatio"`
}

// OTLPFile is the `tracing.otlp` section.
type OTLPFile struct {
	// URL of a collector that takes OTLP over HTTP in protobuf, such as "http://otel-collector.monitoring.svc:4318"; without a path /v1/traces is added. Default: none, and nothing is traced.
	Endpoint string `json:"endpoint"`
	// File with headers for the collector, such as an API key: one "Name: value" a line. Needs https, or a loopback host.
	HeadersFile string `json:"headersFile"`
	// File with the certificates of the authorities to trust, in PEM. Default: those of the system.
	CAFile string `json:"caFile"`
}

// Resolve checks the section.
func (f File) Resolve(c conf.Section) Config {
	var t Config
	if f.SamplingRatio != nil {
		if t.Ratio = *f.SamplingRatio; t.Ratio < 0 || t.Ratio > 1 {
			c.Add(c.Key("samplingRatio"), "%v is not between 0 and 1", t.Ratio)
		}
	}
	otlp := c.Sub("otlp")
	if f.OTLP.Endpoint == "" {
		if !reflect.ValueOf(f).IsZero() && !c.IsMalformed(otlp.Key("endpoint")) {
			c.Add(otlp.Key("endpoint"), "is required where other keys of tracing are set")
		}
		return t
	}
	u, err := url.Parse(f.OTLP.Endpoint)
	if err != nil || len(f.OTLP.Endpoint) > conf.MaxURL || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		c.Add(otlp.Key("endpoint"), "%s is not a URL such as \"http://otel-collector.monitoring.svc:4318\", without user, query and fragment", conf.Show(f.OTLP.Endpoint))
		return t
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/traces"
	}
	t.Endpoint = u.String()
	if f.OTLP.HeadersFile != "" {
		t.Headers = headers(c, otlp.Key("headersFile"), f.OTLP.HeadersFile)
		if u.Scheme != "https" && !conf.IsLoopback(u.Hostname()) {
			c.Add(otlp.Key("headersFile"), "needs an endpoint with https; else anybody on the way reads the headers")
		}
	}
	t.Authorities = c.Authorities(otlp.Key("caFile"), f.OTLP.CAFile)
	return t
}

// headers reads a file of header lines. Messages show nothing of it.
func headers(c conf.Section, at, name string) map[string]conf.Secret {
	content, ok := c.SecretFile(at, name)
	if !ok {
		return nil
	}
	out := map[string]conf.Secret{}
	n := 0
	for line := range strings.Lines(content) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		name, value, found := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		if !found || !httpguts.ValidHeaderFieldName(name) || value == "" || !httpguts.ValidHeaderFieldValue(value) {
			c.Add(at, `line %d of the file is not a header such as "Name: value"`, n)
			continue
		}
		out[http.CanonicalHeaderKey(name)] = conf.NewSecret(value)
	}
	return out
}

// Summary says where traces go, for the operator.
func (t Config) Summary() string {
	if t.Endpoint == "" {
		return "off"
	}
	return fmt.Sprintf("to %s, %v of what begins here", t.Endpoint, t.Ratio)
}
