package doctor

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/gatewatch"
)

func (w *walk) checkGet(ctx context.Context) outcome {
	return w.checkMethod(ctx, http.MethodGet, "get.open")
}
func (w *walk) checkDelete(ctx context.Context) outcome {
	return w.checkMethod(ctx, http.MethodDelete, "delete.open")
}

// checkMethod wants 401. A 403, 404 or 405 is not open either; a 2xx is, and so
// is an error about the session, which only the MCP server itself can know.
func (w *walk) checkMethod(ctx context.Context, method string, open string) outcome {
	a, err := w.probe.do(ctx, request{method, w.url.String(), []string{"Accept", "text/event-stream, application/json"}, ""})
	if err != nil {
		return skip(transport(err))
	}
	switch a.status {
	case http.StatusUnauthorized:
		return pass("")
	case http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed:
		return pass(fmt.Sprintf("refused, with %d instead of 401", a.status))
	}
	return fail(open, method+" without a token: "+a.String())
}

func (w *walk) checkBadToken(ctx context.Context) outcome {
	a, err := w.post(ctx, "Authorization", "Bearer not-a-token-but-a-question-of-the-doctor")
	if err != nil {
		return skip(transport(err))
	}
	switch {
	case a.status < 300:
		return fail("bad-token.accepted", a.String())
	case a.status != http.StatusUnauthorized:
		return fail("bad-token.status", a.String())
	}
	lines := a.header.Values("WWW-Authenticate")
	if w.bearer == nil {
		return skip("the challenge is missing anyway")
	}
	if bearer, _, err := bearerChallenges(lines); err != nil || len(bearer) == 0 || bearer[0]["error"] != "invalid_token" {
		return fail("bad-token.code", "WWW-Authenticate: "+strings.Join(lines, " | "))
	}
	return pass("401 with error=\"invalid_token\"")
}

// largeToken is what a token with many groups comes to.
const largeToken = 7 << 10

func (w *walk) checkLargeToken(ctx context.Context) outcome {
	a, err := w.post(ctx, "Authorization", "Bearer "+strings.Repeat("0123456789abcdef", largeToken/16))
	saw := fmt.Sprintf("a token of %d bytes: ", largeToken)
	switch {
	case err != nil:
		return fail("large-token.rejected", saw+transport(err))
	case a.status < 300:
		return skip("accepted, like any other token") // bad-token has reported that
	case a.status != http.StatusUnauthorized && a.status != http.StatusForbidden:
		return fail("large-token.rejected", saw+a.String())
	}
	return pass(fmt.Sprintf("%d bytes get the usual %d", largeToken, a.status))
}

// stranger is a host that exists nowhere.
const stranger = gatewatch.Stranger

// checkSpoof claims, in the headers of each family of gateways, to be on the
// way to a public path, or in a preflight.
func (w *walk) checkSpoof(ctx context.Context) outcome {
	public := wellKnownResource
	for _, claim := range [][]string{
		{"X-Original-URL", origin(w.url) + public, "X-Original-URI", public, "X-Original-Method", "OPTIONS"},
		{"X-Forwarded-Host", w.url.Host, "X-Forwarded-Uri", public, "X-Forwarded-Method", "OPTIONS"},
		{"Path", public, "Method", "OPTIONS"},
		{"X-Auth-Request-User", "doctor", "X-Auth-Request-Email", "doctor@" + stranger},
	} {
		a, err := w.post(ctx, append(claim, "Origin", w.opt.Origin, "Access-Control-Request-Method", "POST")...)
		if err != nil {
			return skip(transport(err))
		}
		if a.status < 300 {
			return fail("spoof.admitted", fmt.Sprintf("a POST with %s: %s", claim[0], a))
		}
	}
	forged := []string{"X-Forwarded-Host", stranger, "X-Forwarded-Proto", "https", "Forwarded", "host=" + stranger}
	a, err := w.post(ctx, forged...)
	if err == nil && strings.Contains(strings.Join(a.header.Values("WWW-Authenticate"), " "), stranger) {
		return fail("spoof.reflected", "WWW-Authenticate: "+a.header.Get("WWW-Authenticate"))
	}
	if w.resourceAt != "" {
		if a, err = w.probe.get(ctx, w.resourceAt, forged...); err == nil && strings.Contains(string(a.body), stranger) {
			return fail("spoof.reflected", w.resourceAt+" with X-Forwarded-Host: "+stranger+" names that host")
		}
	}
	return pass("")
}

// checkUnasked sends requests without a token to other spellings of the address.
// What counts is whether an MCP server answers: a gateway may refuse them, know
// nothing of them, or hang up.
func (w *walk) checkUnasked(ctx context.Context) outcome {
	ask := func(at string, header ...string) (string, bool) {
		a, err := w.probe.do(ctx, request{http.MethodPost, at, append([]string{
			"Content-Type", "application/json", "Accept", "application/json, text/event-stream"}, header...), hello})
		if err != nil || !gatewatch.FromServer(a.header, a.body) {
			return "", false
		}
		return a.String(), true
	}
	for _, path := range gatewatch.Spellings(w.url.EscapedPath()) {
		if saw, open := ask(origin(w.url) + path); open {
			return fail("unasked.path", "POST "+path+": "+saw)
		}
	}
	for _, host := range gatewatch.Hosts(w.url.Host) {
		if saw, open := ask(w.url.String(), "Host", host); open {
			return fail("unasked.host", "POST with Host "+host+": "+saw)
		}
	}
	return pass("")
}
