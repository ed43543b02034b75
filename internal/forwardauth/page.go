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

// Headers that a decision about a page looks up. Those of Fetch Metadata are set by the
// browser; scripts cannot set them.
const (
	cookieHeader = "Cookie"
	fetchSite    = "Sec-Fetch-Site"
	fetchMode    = "Sec-Fetch-Mode"
	fetchDest    = "Sec-Fetch-Dest"
	// languageHeader does not affect the decision. It is for the page that tells of a
	// refusal.
	languageHeader = "Accept-Language"
)

// page decides about a request to a page. The request must have the session of a browser,
// and must come from a page of the same host or from a person who navigates there. A page
// with Tokens also takes the credentials of the MCP server beside it.
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

// pageToken decides about a request to a page with a credential of the MCP server beside
// it. It needs no check of where the request came from: browsers do not send such
// credentials by themselves.
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

// session checks the browser session of a request.
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
	return e.checkCredential(ctx, raw, q, d, false)
}

// crossSite reports whether another site may have made the browser send the request.
// Another site may only link to a page: a GET that opens it in a window. Browsers without
// Fetch Metadata may send safe methods; other requests of theirs must name this host as
// Origin.
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
	case site == "none", site == "": // the person's own doing, such as a bookmark; or no Fetch Metadata
		return !safe(q.Method) && origin == ""
	}
	return !navigation(q)
}

func safe(method string) bool {
	return slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, method)
}

// navigation reports whether a person opens the page in a window of a browser. User-Agent
// is not asked, because some MCP clients send that of a browser.
func navigation(q *Request) bool {
	mode, _ := one(q.Other[fetchMode])
	dest, ok := atMostOne(q.Other[fetchDest])
	return q.Method == http.MethodGet && mode == "navigate" && ok && (dest == "document" || dest == "")
}

// maxReturn bounds the address that a person comes back to after the sign-in, in bytes.
const maxReturn = 2 << 10

// target returns the address that the person asked for. It leaves out a query or a path
// that is too long to be sent along.
func target(q *Request) string {
	switch {
	case q.NoPath || len(q.Path) > maxReturn:
		return "/"
	case q.Query != "" && len(q.Path)+len(q.Query) < maxReturn:
		return q.Path + "?" + q.Query
	}
	return q.Path
}

// withReturn returns path with the address to come back to in its query.
func withReturn(path, target string) string {
	return path + "?" + url.Values{web.ReturnParam: {target}}.Encode()
}

// answerPage fills in the answer to a request to a page that is denied. A person is sent
// to sign in, or reads why they may not see the page. Programs and scripts get a status
// and JSON.
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
			d.Headers.add("Location", d.Host.Issuer+withReturn(web.SignInPath, target(q)))
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

// showRefusal fills in the page that tells the person why, and reports whether there is
// one. nginx drops the body of a denial, so its answer also names the path that has the
// same page.
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
		d.Headers.add("Location", withReturn(web.RefusedPath, target(q)))
	}
	return true
}
