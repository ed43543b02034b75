package doctor

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/gatewatch"
)

func (w *walk) checkGet(ctx context.Context) outcome {
	return w.checkMethod(ctx, http.MethodGet, "get.open", "get.unasked")
}
func (w *walk) checkDelete(ctx context.Context) outcome {
	return w.checkMethod(ctx, http.MethodDelete, "delete.open", "delete.unasked")
}

// checkMethod expects 401. A 2xx is open, and so is an error about the session, which
// only the MCP server itself can know. A 404 or 405 may come from the MCP server as
// well: then every request may reach it. A redirect or a 5xx comes from neither the
// gate nor the MCP server. So these are warnings, unless this server certainly wrote
// the answer.
func (w *walk) checkMethod(ctx context.Context, method, open, unasked string) outcome {
	a, err := w.probe.do(ctx, request{method, w.url.String(), []string{"Accept", "text/event-stream, application/json"}, ""})
	if err != nil {
		return skip(transport(err))
	}
	switch s := a.status; {
	case s == http.StatusUnauthorized:
		return pass("")
	case s == http.StatusForbidden:
		return pass("refused, with 403 instead of 401")
	case gatewatch.FromServer(a.header, a.body):
	case s == http.StatusNotFound || s == http.StatusMethodNotAllowed || s >= 300 && s < 400 || s == http.StatusMisdirectedRequest || s == http.StatusTooManyRequests || s >= 500:
		return warn(unasked, method+" without a token: "+a.String())
	}
	w.getOpen = w.getOpen || method == http.MethodGet
	return fail(open, method+" without a token: "+a.String())
}

// checkOtherMethods sends what MCP does not use. A set-up may answer 404 or 405 to it
// wherever it likes, and 2xx to OPTIONS, which says nothing. What gets another 2xx, or
// an answer of an MCP server, got past the gate.
func (w *walk) checkOtherMethods(ctx context.Context) outcome {
	if w.getOpen {
		return skip("GET is open, too")
	}
	for _, method := range []string{http.MethodHead, http.MethodPut, http.MethodOptions} {
		a, err := w.probe.do(ctx, request{method, w.url.String(), []string{"Accept", "text/event-stream, application/json"}, ""})
		if err != nil {
			return skip(transport(err))
		}
		if gatewatch.FromServer(a.header, a.body) || a.status < 300 && method != http.MethodOptions {
			return fail("methods.open", method+" without a token: "+a.String())
		}
	}
	return pass("HEAD, PUT and OPTIONS reach no MCP server")
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
	bearer, _, err := bearerChallenges(lines)
	switch {
	case err == nil && len(bearer) > 0 && maps.Equal(bearer[0], w.bearer) && w.bearer["error"] == "":
		return fail("bad-token.unseen", "with and without a token: WWW-Authenticate: "+strings.Join(lines, " | "))
	case err != nil || len(bearer) == 0 || bearer[0]["error"] != "invalid_token":
		return fail("bad-token.code", "WWW-Authenticate: "+strings.Join(lines, " | "))
	}
	w.judged = bearer[0]
	return pass("401 with error=\"invalid_token\"")
}

// checkScheme writes the scheme as some clients do: its case must not matter (RFC 9110,
// section 11.1). A server that does not recognise it answers as if there were no token.
func (w *walk) checkScheme(ctx context.Context) outcome {
	if w.judged == nil {
		return skip("a bad token is not told from none")
	}
	a, err := w.post(ctx, "Authorization", "bearer not-a-token-but-a-question-of-the-doctor")
	if err != nil {
		return skip(transport(err))
	}
	bearer, _, err := bearerChallenges(a.header.Values("WWW-Authenticate"))
	if a.status != http.StatusUnauthorized || err != nil || len(bearer) == 0 || bearer[0]["error"] != "invalid_token" {
		return warn("token-scheme.case", "with \"bearer\" in place of \"Bearer\": "+a.String()+shownHeader(a, "WWW-Authenticate"))
	}
	return pass("")
}

// largeBody is more than nginx and others accept by default, and the size of a call
// with a file in its arguments.
const largeBody = 2 << 20

func (w *walk) checkLargeBody(ctx context.Context) outcome {
	body := strings.Replace(hello, `"capabilities":{}`, `"capabilities":{"experimental":{"doctor":{"padding":"`+strings.Repeat("x", largeBody)+`"}}}`, 1)
	a, err := w.probe.do(ctx, request{http.MethodPost, w.url.String(), []string{
		"Content-Type", "application/json", "Accept", "application/json, text/event-stream"}, body})
	saw := fmt.Sprintf("a request of %d bytes: ", len(body))
	switch {
	case err != nil:
		return warn("large-body.rejected", saw+transport(err))
	case a.status < 300:
		return skip("accepted without a token") // post has reported that
	case a.status != http.StatusUnauthorized && a.status != http.StatusForbidden:
		return warn("large-body.rejected", saw+a.String())
	}
	return pass(fmt.Sprintf("%d bytes get the usual %d", len(body), a.status))
}

// largeToken is the size of a token with many groups.
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

// stranger is a host that does not exist.
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
