package config

import (
	"io/fs"
	"strings"
	"testing"
)

func TestTracing(t *testing.T) {
	files := func(name string) ([]byte, error) {
		if name == "headers" {
			return []byte("Authorization: Bearer very-secret\n\nx-team:  auth \r\n"), nil
		}
		return nil, fs.ErrNotExist
	}
	c, err := Parse([]byte(minimal+"tracing: {otlp: {endpoint: 'https://otel.example.com', headersFile: headers}, samplingRatio: 0.25}\n"), files)
	if err != nil {
		t.Fatal(err)
	}
	got := c.Tracing
	if got.OTLP.Endpoint != "https://otel.example.com/v1/traces" || got.Ratio != 0.25 || len(got.OTLP.Headers) != 2 || got.OTLP.Headers["Authorization"].Reveal() != "Bearer very-secret" || got.OTLP.Headers["X-Team"].Reveal() != "auth" {
		t.Errorf("got %+v", got)
	}
	if strings.Contains(c.Summary(), "very-secret") {
		t.Error("the summary shows a secret")
	}
	c = mustParse(t, minimal+"tracing: {otlp: {endpoint: 'http://otel:4318/custom/path'}}\naudit: {file: /var/log/audit.jsonl}\n")
	if c.Tracing.OTLP.Endpoint != "http://otel:4318/custom/path" || c.Tracing.Ratio != 0 || c.AuditFile != "/var/log/audit.jsonl" {
		t.Errorf("got %+v, %q", c.Tracing, c.AuditFile)
	}
	if c := mustParse(t, minimal); c.Tracing.OTLP.Endpoint != "" || c.AuditFile != "" {
		t.Errorf("on without being asked for: %+v %q", c.Tracing, c.AuditFile)
	}
}

func TestTracingMistakes(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"tracing: {samplingRatio: 0.1}", "tracing.otlp.endpoint: is required"},
		{"tracing: {otlp: {endpoint: 'otel:4318'}}", "tracing.otlp.endpoint: \"otel:4318\" is not a URL"},
		{"tracing: {otlp: {endpoint: 'https://u:p@otel'}}", "tracing.otlp.endpoint"},
		{"tracing: {otlp: {endpoint: 'https://otel'}, samplingRatio: 1.5}", "tracing.samplingRatio: 1.5 is not between 0 and 1"},
		{"tracing: {otlp: {endpoint: 'https://otel'}, samplingRatio: '0.5'}", "tracing.samplingRatio: must be a number, not text"},
		{"tracing: {otlp: {endpoint: 'https://otel', headersFile: nowhere}}", "tracing.otlp.headersFile: there is no such file"},
		{"tracing: {otlp: {endpoint: 'https://otel', caFile: nowhere}}", "tracing.otlp.caFile: there is no such file"},
	} {
		t.Run(tt.text, func(t *testing.T) { refused(t, minimal+tt.text+"\n", tt.want) })
	}
	for name, content := range map[string]string{"no colon": "secret-key", "no value": "Key:", "a control": "Key: a\x00b", "two lines": "Key: a\nsecret-key"} {
		_, err := Parse([]byte(minimal+"tracing: {otlp: {endpoint: 'https://otel', headersFile: h}}\n"), func(string) ([]byte, error) { return []byte(content), nil })
		if err == nil || !strings.Contains(err.Error(), "tracing.otlp.headersFile: line") || strings.Contains(err.Error(), "secret-key") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := Parse([]byte(minimal+"tracing: {otlp: {endpoint: 'http://otel', headersFile: h}}\n"), func(string) ([]byte, error) { return []byte("Key: value"), nil })
	if err == nil || !strings.Contains(err.Error(), "needs an endpoint with https") {
		t.Errorf("headers in clear: %v", err)
	}
}
