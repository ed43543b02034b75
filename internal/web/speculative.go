package web

import (
	"net/http"
	"strings"
)

// Deliberate passes on what a person asks for, and does nothing for requests that
// a program makes on its own: browsers that fetch or render a page before the
// user goes there, and HEAD, with which mail and chat programs look at links. Such
// requests are safe to repeat only as long as they have no effect (RFC 9110,
// section 9.2.1), so every page that has one stands behind this. A browser that
// gets the 503 asks again when the person goes there.
func Deliberate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodHead:
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(http.StatusOK)
		case speculative(r.Header):
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Vary", strings.Join(purposes, ", "))
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// purposes are the headers with which browsers say that a request is speculative:
// Sec-Purpose is the standard (Fetch, section 3.8), the others are older.
var purposes = []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"}

func speculative(h http.Header) bool {
	for _, name := range purposes {
		for _, value := range h.Values(name) {
			value = strings.ToLower(value)
			for _, word := range []string{"prefetch", "prerender", "preview"} {
				if strings.Contains(value, word) {
					return true
				}
			}
		}
	}
	return false
}
