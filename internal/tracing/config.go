package tracing

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"golang.org/x/net/http/httpguts"
)

// Config is the `tracing` section.
type Config struct {
	// The collector. Without one nothing is traced.
	OTLP OTLP `json:"otlp"`
	// Fraction of the traces that begin here to record, 0 to 1. If the gateway sends a traceparent, that decides instead, for at most 100 traces a second.
	Ratio float64 `json:"samplingRatio" default:"0" min:"0" max:"1"`
}

// OTLP is the `tracing.otlp` section: where traces go.
type OTLP struct {
	// URL of a collector that accepts OTLP over HTTP in protobuf, such as "http://otel-collector.monitoring.svc:4318"; without a path /v1/traces is added. Default: none, and nothing is traced.
	Endpoint string `json:"endpoint"`
	// File with headers for the collector, such as an API key: one "Name: value" a line. Needs https, or a loopback host.
	HeadersFile string `json:"headersFile"`
	// File with the certificates of the authorities to trust, in PEM. Default: those of the system.
	Authorities []byte `json:"caFile"`

	Headers map[string]conf.Secret // what HeadersFile holds, by canonical name
}

// Resolve checks the section.
func (t *Config) Resolve(c conf.Section) {
	o, otlp := &t.OTLP, c.Sub("otlp")
	if o.Endpoint == "" {
		if c.IsSet(c.At) {
			c.Add(otlp.Key("endpoint"), "is required where other keys of tracing are set")
		}
		return
	}
	u, err := url.Parse(o.Endpoint)
	if err != nil || len(o.Endpoint) > conf.MaxURL || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		c.Add(otlp.Key("endpoint"), "%s is not a URL such as \"http://otel-collector.monitoring.svc:4318\", without user, query and fragment", conf.Show(o.Endpoint))
		return
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/traces"
	}
	o.Endpoint = u.String()
	if o.HeadersFile != "" {
		o.Headers = headers(c, otlp.Key("headersFile"), o.HeadersFile)
		if u.Scheme != "https" && !conf.IsLoopback(u.Hostname()) {
			c.Add(otlp.Key("headersFile"), "needs an endpoint with https; else anyone on the way can read the headers")
		}
	}
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
	if t.OTLP.Endpoint == "" {
		return "off"
	}
	return fmt.Sprintf("to %s, %v of what begins here", t.OTLP.Endpoint, t.Ratio)
}
