package server

import (
	"net/http"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Plain pages for people who open an address for programs. Programs get the answers of
// the protocols.

// orPage has next answer, and a person who opens a route that takes no GET get a page.
func orPage(pages *page.Pages, route web.Route, next http.Handler) http.Handler {
	if slices.Contains(route.Methods, http.MethodGet) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !web.Opened(r) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Allow", strings.Join(route.Methods, ", "))
		pages.For(r).Done(w, page.Done{Status: http.StatusMethodNotAllowed, Outcome: page.NothingHere})
	})
}

// nothingHere answers every path without a route.
func nothingHere(pages *page.Pages) web.HostHandler {
	return func(w http.ResponseWriter, r *http.Request, host *resource.Host) {
		if !web.Opened(r) {
			notFound(w, r, host)
			return
		}
		outcome := page.NothingHere
		if host.Covering(r.URL.EscapedPath()) != nil {
			outcome = page.ServerHere
		}
		pages.For(r).Done(w, page.Done{Status: http.StatusNotFound, Outcome: outcome})
	}
}

// pageForPeople replaces the body of next's refusal for lack of a token by a page, for
// a person who opened the address of an MCP server, as opened says. The status and the
// challenge stay. A gateway with its own page for a 401 shows that instead.
func pageForPeople(pages *page.Pages, opened func(*http.Request) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if opened(r) {
			w = &refusalPage{ResponseWriter: w, show: func(w http.ResponseWriter) {
				pages.For(r).Done(w, page.Done{Status: http.StatusUnauthorized, Outcome: page.ServerHere})
			}}
		}
		next.ServeHTTP(w, r)
	})
}

// refusalPage replaces the body of a 401 by a page.
type refusalPage struct {
	http.ResponseWriter
	show  func(http.ResponseWriter)
	shown bool
}

// WriteHeader implements http.ResponseWriter.
func (p *refusalPage) WriteHeader(status int) {
	if status != http.StatusUnauthorized || p.Header().Get("Location") != "" { // or it redirects to the sign-in
		p.ResponseWriter.WriteHeader(status)
		return
	}
	p.shown = true
	p.show(p.ResponseWriter)
}

// Write implements http.ResponseWriter.
func (p *refusalPage) Write(b []byte) (int, error) {
	if p.shown { // the body that the page replaces
		return len(b), nil
	}
	return p.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (p *refusalPage) Unwrap() http.ResponseWriter { return p.ResponseWriter }
