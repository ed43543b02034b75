package bridge

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// Where identities are not checked, a web page reaches no server on its reader's machine
// (DNS rebinding), and only the pages that the operator named elsewhere.
func TestAsker(t *testing.T) {
	settings := Settings{AllowedOrigin: []string{"https://app.example"}, AllowedHosts: []string{"bridge.example"}}
	for _, tt := range []struct {
		local        bool
		host, origin string
		passes       bool
	}{
		{true, "localhost:8080", "", true},
		{true, "LOCALHOST", "", true},
		{true, "127.0.0.2:8080", "", true},
		{true, "[::1]:8080", "", true},
		{true, "bridge.example:8080", "", true},
		{true, "evil.example", "", false},
		{true, "localhost.evil.example", "", false},
		{true, "10.0.0.1:8080", "", false},
		{true, "a b", "", false},
		{true, "", "", false},
		{true, "localhost", "http://localhost:3000", true},
		{true, "localhost", "http://[::1]:3000", true},
		{true, "localhost", "https://app.example", true},
		{true, "localhost", "https://evil.example", false},
		{true, "localhost", "http://localhost.evil.example", false},
		{true, "localhost", "null", false},
		{true, "localhost", "http://%zz", false},
		{true, "evil.example", "https://app.example", false},
		{false, "anything.example", "", true},
		{false, "anything.example", "https://app.example", true},
		{false, "anything.example", "http://localhost:3000", false},
		{false, "localhost", "https://evil.example", false},
	} {
		b := &Bridge{s: settings, local: func() bool { return tt.local }}
		r := httptest.NewRequest(http.MethodPost, "/mcp", nil)
		r.Host = tt.host
		if tt.origin != "" {
			r.Header.Set("Origin", tt.origin)
		}
		if owner, status, err := b.asker(r); (err == nil) != tt.passes || owner != "" || err != nil && status != http.StatusForbidden {
			t.Errorf("%+v: %d %v", tt, status, err)
		}
	}
}
