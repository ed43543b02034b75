package forwardauth

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Headers that a decision about a page looks up. The browser alone sets those of
// Fetch Metadata; no script can.
const (
	cookieHeader = "Cookie"
	fetchSite    = "Sec-Fetch-Site"
	fetchMode    = "Sec-Fetch-Mode"
	fetchDest    = "Sec-Fetch-Dest"
	// languageHeader has no part in the decision: a refusal is told in the person's language.
	languageHeader = "Accept-Language"
)

// page decides about a request to a page: it must come from the host's own pages,
// or from a person who goes there, with a session.
func (e *Endpoint) page(ctx context.Context, q *Request, d *Decision) Reason {
	if d.Resource.Page.Tokens && (len(q.Authorization) > 0 || len(q.keyLines(d.Resource.Server())) > 0) {
		return e.pageToken(ctx, q, d)
	}
	if crossSite(q, d.Host.Issuer) {
		return CrossSiteRequest
	}
	if reason := e.session(ctx, q, d); reason != Allowed {
		return reason
	}
	d.proven = true
	if navigation(q) && e.Now().Unix() >= d.Token.terms.renew {
		return SessionDue
	}
	return Allowed
}

// pageToken decides about a request to a page by a credential of the MCP server
// beside it, which no browser sends by itself.
func (e *Endpoint) pageToken(ctx context.Context, q *Request, d *Decision) Reason {
	page := d.Resource
	d.Resource = page.Server()
	reason := e.authenticate(ctx, q, d)
	if reason != Allowed {
		return reason
	}
	d.Resource, d.proven = page, true
	if scope := page.Page.Scope; scope != "" && !d.grant.opens[scope] {
		return NotAllowed
	}
	return Allowed
}

// session finds out whose session a request comes with.
func (e *Endpoint) session(ctx context.Context, q *Request, d *Decision) Reason {
	if e.Session == nil {
		return NoSession
	}
	raw, several := e.Session(q.Other[cookieHeader], d.Host)
	switch {
	case several:
		return SessionInvalid
	case raw == "":
		return NoSession
	}
	return e.known(ctx, raw, q, d, false)
}

// crossSite reports whether another site may have made the browser send a request.
// Links of other sites to a page are for people, and have no effect there: GET, for
// a window of its own. What a browser without Fetch Metadata sends must be safe or
// name its origin.
func crossSite(q *Request, issuer string) bool {
	site, siteOK := atMostOne(q.Other[fetchSite])
	origin, originOK := atMostOne(q.Origin)
	switch {
	case !siteOK || !originOK:
		return true
	case site == "same-origin":
		return false
	case origin != "" && origin != issuer:
		return true
	case site == "none", site == "": // the person's own doing, such as a bookmark; or unsaid
		return !safe(q.Method) && origin == ""
	}
	return !navigation(q)
}

func safe(method string) bool {
	return slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, method)
}

// navigation reports whether a person goes to the page in a window of its own. What
// the browser calls itself says nothing: clients of MCP call themselves the same.
func navigation(q *Request) bool {
	mode, _ := one(q.Other[fetchMode])
	dest, ok := atMostOne(q.Other[fetchDest])
	return q.Method == http.MethodGet && mode == "navigate" && ok && (dest == "document" || dest == "")
}

// maxReturn bounds the address that a person comes back to.
const maxReturn = 2 << 10

// target is the address that a person asked for, without what is too
// long to be sent on.
func target(q *Request) string {
	switch {
	case q.NoPath || len(q.Path) > maxReturn:
		return "/"
	case q.Query != "" && len(q.Path)+len(q.Query) < maxReturn:
		return q.Path + "?" + q.Query
	}
	return q.Path
}

// by is path with where it leads on to.
func by(path, target string) string {
	return path + "?" + url.Values{web.ReturnParam: {target}}.Encode()
}

// answerPage fills in the answer to a request to a page that does not pass. A
// person is sent to sign in, or reads why the page is not for them; programs and
// scripts get the status.
func (e *Endpoint) answerPage(q *Request, d *Decision) {
	a := &answers[d.Reason]
	d.Status = d.Reason.status(q.Dialect)
	if d.Reason == NotAllowed && navigation(q) && e.showRefusal(q, d) {
		return
	}
	d.Headers = Lines{make([]string, 0, 2), make([]string, 0, 2)}
	d.Headers.add("Content-Type", "application/json")
	if a.status == http.StatusUnauthorized {
		if navigation(q) {
			d.Headers.add("Location", d.Host.Issuer+by(web.SignInPath, target(q)))
			if !traits[q.Dialect].strict {
				d.Status = http.StatusSeeOther
			}
		}
		if d.Status == http.StatusUnauthorized {
			d.Headers.add("Www-Authenticate", "Session")
		}
	}
	d.Body = a.body
}

// showRefusal fills in a page that says why, and reports whether there is one. nginx
// drops the body of a denial; there the answer names the path where the same page is.
func (e *Endpoint) showRefusal(q *Request, d *Decision) bool {
	if e.Refusal == nil {
		return false
	}
	r, ok := e.Refusal(d.Host, target(q), q.Other[cookieHeader], q.Other[languageHeader])
	if !ok {
		return false
	}
	d.Body, d.flow = r.Body, r.Flow
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		d.Headers.add(name, strings.Join(r.Header[name], ", "))
	}
	if q.Dialect == NGINX {
		d.Headers.add("Location", by(web.RefusedPath, target(q)))
	}
	return true
}
