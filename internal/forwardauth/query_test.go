package forwardauth

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// A person comes back to the page with its query: each dialect tells it.
func TestQueryOfEachDialect(t *testing.T) {
	const query = "note=a%20b&sort=1"
	for name, r := range map[string]*http.Request{
		"Envoy HTTP":      httptest.NewRequest("GET", Path+"/envoy/ui/notes?"+query, nil),
		"nginx":           withHeader(Path, "X-Original-URL", "https://mcp.example.com/ui/notes?"+query),
		"X-Forwarded-URI": withHeader(Path+"/forwarded", "X-Forwarded-Uri", "/ui/notes?"+query),
	} {
		if q := read(r); q.Query != query || q.Path != "/ui/notes" {
			t.Errorf("%s: the path %q and the query %q", name, q.Path, q.Query)
		}
	}
}

func withHeader(target, name, value string) *http.Request {
	r := httptest.NewRequest("GET", target, nil)
	r.Header.Set(name, value)
	r.Header.Set("X-Forwarded-Host", "mcp.example.com")
	r.Header.Set("X-Forwarded-Method", "GET")
	return r
}
