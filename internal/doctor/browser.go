package doctor

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// wantedHeaders are those that a web client adds to its requests.
var wantedHeaders = []string{"authorization", "content-type", "mcp-protocol-version"}

// preflight asks as a browser would before a POST with headers.
func (w *walk) preflight(ctx context.Context, at, method string, headers ...string) (*answer, error) {
	return w.probe.do(ctx, request{http.MethodOptions, at, []string{
		"Origin", w.opt.Origin, "Access-Control-Request-Method", method, "Access-Control-Request-Headers", strings.Join(headers, ",")}, ""})
}

// readable reports whether a script of the origin may read a.
func (w *walk) readable(a *answer) bool {
	allowed := a.header.Values("Access-Control-Allow-Origin")
	return len(allowed) == 1 && (allowed[0] == "*" || allowed[0] == w.opt.Origin)
}

// lists reports whether a comma-separated header has value, or "*".
func lists(a *answer, header, value string) bool {
	for _, line := range a.header.Values(header) {
		for v := range strings.SplitSeq(line, ",") {
			// "*" never matches Authorization (Fetch, "CORS-unsafe request-header names").
			if v = strings.TrimSpace(v); strings.EqualFold(v, value) || v == "*" && value != "authorization" {
				return true
			}
		}
	}
	return false
}

func asksForToken(a *answer) bool {
	return a.status == http.StatusUnauthorized || a.status == http.StatusForbidden && front(a) == fine
}

func (w *walk) checkPreflight(ctx context.Context) outcome {
	a, err := w.preflight(ctx, w.url.String(), http.MethodPost, wantedHeaders...)
	if errors.Is(err, context.DeadlineExceeded) {
		return skip(transport(err))
	}
	if err != nil {
		return fail("cors-preflight.refused", transport(err))
	}
	saw := "OPTIONS from " + w.opt.Origin + ": " + a.String()
	switch {
	case asksForToken(a):
		return fail("cors-preflight.gated", saw)
	case a.status >= 300:
		return fail("cors-preflight.refused", saw)
	case !w.readable(a):
		return fail("cors-preflight.refused", saw+shownHeader(a, "Access-Control-Allow-Origin"))
	}
	for _, h := range wantedHeaders {
		if !lists(a, "Access-Control-Allow-Headers", h) {
			return fail("cors-preflight.headers", "not "+h+shownHeader(a, "Access-Control-Allow-Headers"))
		}
	}
	return pass("for " + w.opt.Origin)
}

func shownHeader(a *answer, name string) string {
	if v := a.header.Values(name); v != nil {
		return ", " + name + ": " + strings.Join(v, " | ")
	}
	return ", no " + name
}

func (w *walk) checkCORSChallenge(ctx context.Context) outcome {
	a, err := w.post(ctx, "Origin", w.opt.Origin)
	switch {
	case err != nil:
		return skip(transport(err))
	case a.header.Get("WWW-Authenticate") == "":
		return skip("there is no WWW-Authenticate to read")
	case !w.readable(a):
		return fail("cors-challenge.hidden", "401"+shownHeader(a, "Access-Control-Allow-Origin"))
	case !lists(a, "Access-Control-Expose-Headers", "WWW-Authenticate"):
		return fail("cors-challenge.hidden", "401"+shownHeader(a, "Access-Control-Expose-Headers"))
	}
	return pass("")
}

func (w *walk) checkCORSDocuments(ctx context.Context) outcome {
	documents := []string{w.resourceAt}
	if w.serverAt != "" {
		documents = append(documents, w.serverAt)
	}
	for _, at := range documents {
		a, err := w.probe.get(ctx, at, "Origin", w.opt.Origin)
		if err != nil {
			return skip(transport(err))
		}
		if !w.readable(a) {
			return fail("cors-documents.hidden", at+shownHeader(a, "Access-Control-Allow-Origin"))
		}
		// Other failures of a preflight are harmless: clients try again without the header.
		if a, err = w.preflight(ctx, at, http.MethodGet, "mcp-protocol-version"); err == nil && asksForToken(a) {
			return fail("cors-documents.gated", "OPTIONS "+at+": "+a.String())
		}
	}
	return pass("")
}

func (w *walk) checkCORSEndpoints(ctx context.Context) outcome {
	endpoints := []struct{ at, headers string }{{w.server.TokenEndpoint, ""}, {w.server.RegistrationEndpoint, "content-type"}}
	for _, e := range endpoints {
		if e.at == "" || !w.usableAt(e.at) {
			continue
		}
		a, err := w.preflight(ctx, e.at, http.MethodPost, "content-type")
		switch {
		case err != nil:
			return skip(transport(err))
		case asksForToken(a):
			return fail("cors-endpoints.gated", "OPTIONS "+e.at+": "+a.String())
		case e.headers == "": // a form needs no preflight, so the answer itself counts
			if a, err = w.postForm(ctx, e.at, url.Values{"grant_type": {"authorization_code"}}, "Origin", w.opt.Origin); err != nil {
				return skip(transport(err))
			}
			if a.status == http.StatusNotFound || a.status >= 500 {
				continue // reported by the check of the endpoint itself
			}
		case !lists(a, "Access-Control-Allow-Headers", e.headers):
			return fail("cors-endpoints.hidden", "OPTIONS "+e.at+": "+a.String()+shownHeader(a, "Access-Control-Allow-Headers"))
		}
		if !w.readable(a) {
			return fail("cors-endpoints.hidden", e.at+": "+a.String()+shownHeader(a, "Access-Control-Allow-Origin"))
		}
	}
	return pass("")
}
