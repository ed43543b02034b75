package web

import (
	"net/http/httptest"
	"testing"
)

func TestOpened(t *testing.T) {
	const chrome = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
	for _, tc := range []struct {
		name, method     string
		header           map[string]string
		opened, navigate bool
	}{
		{"Chromium", "GET", map[string]string{"Accept": chrome, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "none"}, true, true},
		{"a browser without Fetch Metadata", "GET", map[string]string{"Accept": chrome}, true, false},
		{"curl", "GET", map[string]string{"Accept": "*/*"}, false, false},
		{"nothing", "GET", nil, false, false},
		{"MCP over streamable HTTP", "GET", map[string]string{"Accept": "text/event-stream"}, false, false},
		{"MCP that also takes HTML", "GET", map[string]string{"Accept": "text/event-stream, text/html"}, false, false},
		{"a page's fetch", "GET", map[string]string{"Accept": chrome, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}, false, false},
		{"a frame", "GET", map[string]string{"Accept": chrome, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, false, false},
		{"a form", "POST", map[string]string{"Accept": chrome, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, false, false},
		{"a token", "GET", map[string]string{"Accept": chrome, "Authorization": "Bearer x"}, false, false},
		{"a gateway's question about a form", "GET", map[string]string{"Accept": chrome, "Sec-Fetch-Mode": "navigate", "X-Forwarded-Method": "POST"}, true, false},
	} {
		r := httptest.NewRequest(tc.method, "/", nil)
		for name, value := range tc.header {
			r.Header.Set(name, value)
		}
		if got := Opened(r); got != tc.opened {
			t.Errorf("%s: opened %t", tc.name, got)
		}
		if got := Navigates(r); got != tc.navigate {
			t.Errorf("%s: navigates %t", tc.name, got)
		}
	}
}
