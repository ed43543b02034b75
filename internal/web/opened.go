package web

import (
	"net/http"
	"strings"
)

// Opened reports whether a person opened the address in a browser, who is to read a
// page: by what browsers say of a navigation (Fetch Metadata), and where they say
// nothing, by an Accept header that names HTML. MCP clients, scripts and curl name
// other media types or none, and keep the answers of the protocols.
func Opened(r *http.Request) bool {
	if r.Method != http.MethodGet || r.Header.Get("Authorization") != "" {
		return false
	}
	h := r.Header
	mode, dest := h.Get("Sec-Fetch-Mode"), h.Get("Sec-Fetch-Dest")
	if mode != "" && mode != "navigate" || dest != "" && dest != "document" {
		return false
	}
	accept := strings.ToLower(strings.Join(h.Values("Accept"), ","))
	return strings.Contains(accept, "text/html") && !strings.Contains(accept, "text/event-stream")
}

// Navigates is Opened of the request that a gateway asks about: its headers come with
// the question, and its method in one of the headers that gateways write.
func Navigates(r *http.Request) bool {
	if r.Header.Get("Sec-Fetch-Mode") != "navigate" { // most requests end here
		return false
	}
	for _, name := range []string{"X-Forwarded-Method", "X-Original-Method"} {
		if method := r.Header.Get(name); method != "" && method != http.MethodGet {
			return false
		}
	}
	return Opened(r)
}
