package config

import (
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/tracing"
	"golang.org/x/net/http/httpguts"
)

func (r *resolver) tracing(f TracingFile) tracing.Config {
	var t tracing.Config
	if f.SamplingRatio != nil {
		if t.Ratio = *f.SamplingRatio; t.Ratio < 0 || t.Ratio > 1 {
			r.Add("tracing.samplingRatio", "%v is not between 0 and 1", t.Ratio)
		}
	}
	const at = "tracing.otlp"
	if f.OTLP.Endpoint == "" {
		if !reflect.ValueOf(f).IsZero() && !r.IsMalformed(at+".endpoint") {
			r.Add(at+".endpoint", "is required where other keys of tracing are set")
		}
		return t
	}
	u, err := url.Parse(f.OTLP.Endpoint)
	if err != nil || len(f.OTLP.Endpoint) > conf.MaxURL || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		r.Add(at+".endpoint", "%s is not a URL such as \"http://otel-collector.monitoring.svc:4318\", without user, query and fragment", conf.Show(f.OTLP.Endpoint))
		return t
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/traces"
	}
	t.Endpoint = u.String()
	if f.OTLP.HeadersFile != "" {
		t.Headers = r.headers(at+".headersFile", f.OTLP.HeadersFile)
		if u.Scheme != "https" && !conf.IsLoopback(u.Hostname()) {
			r.Add(at+".headersFile", "needs an endpoint with https; else anybody on the way reads the headers")
		}
	}
	t.Authorities = r.Authorities(at+".caFile", f.OTLP.CAFile)
	return t
}

// headers reads a file of header lines. Messages show nothing of it.
func (r *resolver) headers(at, name string) map[string]conf.Secret {
	content, ok := r.SecretFile(at, name)
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
			r.Add(at, `line %d of the file is not a header such as "Name: value"`, n)
			continue
		}
		out[http.CanonicalHeaderKey(name)] = conf.NewSecret(value)
	}
	return out
}

func tracingSummary(t tracing.Config) string {
	if t.Endpoint == "" {
		return "off"
	}
	return fmt.Sprintf("to %s, %v of what begins here", t.Endpoint, t.Ratio)
}
