package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// resourceDocument holds the members that are read of RFC 9728 metadata.
type resourceDocument struct {
	Resource             string   `json:"resource"`
	AuthorizationServers []string `json:"authorization_servers"`
	ScopesSupported      []string `json:"scopes_supported"`
}

const wellKnownResource = "/.well-known/oauth-protected-resource"

// read gets a JSON document into doc, or says what is wrong with the answer.
func (w *walk) read(ctx context.Context, at string, doc any) (problem, string) {
	a, err := w.probe.get(ctx, at)
	if err != nil {
		return unreachable, "GET " + at + ": " + transport(err)
	}
	p := documentProblem(a)
	saw := "GET " + at + ": " + a.String()
	if p == fine {
		if err := json.Unmarshal(a.body, doc); err != nil {
			return malformed, saw + ": " + unreadable(a, err)
		}
	}
	return p, saw
}

// unreadable says why a document is not JSON of the expected form.
func unreadable(a *answer, err error) string {
	switch {
	case errors.Is(a.torn, errTooLong):
		return a.torn.Error()
	case a.torn != nil:
		return "it does not come to its end: " + transport(a.torn)
	case bytes.HasPrefix(a.body, []byte("\xef\xbb\xbf")):
		return "it begins with a byte order mark, which JSON must not have (RFC 8259, section 8.1)"
	case bytes.HasPrefix(a.body, []byte("\x1f\x8b")):
		return "it is compressed, and Content-Encoding does not say so"
	}
	return err.Error()
}

// documentProblem judges the answer to a GET of a JSON document.
func documentProblem(a *answer) problem {
	if p := front(a); p != fine {
		return p
	}
	switch s := a.status; {
	case s == http.StatusOK && !a.isJSON() && (a.media() == "text/html" || a.media() == "text/event-stream" || strings.HasPrefix(strings.TrimSpace(string(a.body)), "<")):
		return swallowed
	case s == http.StatusOK && !a.isJSON():
		return malformed
	case s == http.StatusOK:
		return fine
	case s < 300:
		return swallowed
	case s < 400:
		return redirected
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		return protected
	case s == http.StatusNotFound || s == http.StatusGone:
		return missing
	case s == http.StatusMisdirectedRequest:
		return misdirected
	case s >= 500:
		return failing
	}
	return swallowed // 400, 405, 406: an MCP server looking for a session
}

// inserted puts a well-known path before the path of u (RFC 8414, section 3.1).
func inserted(u *url.URL, wellKnown string) string {
	return origin(u) + wellKnown + strings.TrimSuffix(u.EscapedPath(), "/")
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

func (w *walk) checkMetadata(ctx context.Context) outcome {
	candidates := []string{w.metadataURL}
	if w.metadataURL == "" { // where clients look without a challenge
		candidates = []string{inserted(w.url, wellKnownResource), origin(w.url) + wellKnownResource}
	}
	var first outcome
	for i, at := range candidates {
		var doc resourceDocument
		p, saw := w.read(ctx, at, &doc)
		if p == fine {
			w.resource, w.resourceAt = &doc, at
			return pass(at)
		}
		if i == 0 {
			first = fail("metadata."+string(p), saw)
		}
	}
	return first
}

func (w *walk) checkMetadataPath(ctx context.Context) outcome {
	at := inserted(w.url, wellKnownResource)
	if at == w.resourceAt {
		return pass("the same address")
	}
	var doc resourceDocument
	p, saw := w.read(ctx, at, &doc)
	if p != fine {
		return fail("metadata-path."+string(p), saw)
	}
	if doc.Resource != w.resource.Resource {
		return fail("metadata-path.malformed", fmt.Sprintf("%s is about %q, %s about %q", at, doc.Resource, w.resourceAt, w.resource.Resource))
	}
	return pass(at)
}

// checkMetadataRoot finds no fault: the root document describes the whole host, and is
// absent if a host has several MCP servers.
func (w *walk) checkMetadataRoot(ctx context.Context) outcome {
	at := origin(w.url) + wellKnownResource
	if at == w.resourceAt || at == inserted(w.url, wellKnownResource) {
		return pass("the same address")
	}
	var doc resourceDocument
	if p, saw := w.read(ctx, at, &doc); p != fine {
		return skip("not needed, and not there: " + saw)
	}
	return pass("")
}

func (w *walk) checkResource(context.Context) outcome {
	got, want := w.resource.Resource, w.opt.URL
	if got == "" {
		return fail("resource.absent", w.resourceAt+" has no resource")
	}
	saw := fmt.Sprintf("resource is %q, the URL is %q", got, want)
	u, err := url.Parse(got)
	switch {
	case got == want:
		return pass("")
	case err != nil:
		return fail("resource.host", saw)
	case u.Scheme != w.url.Scheme:
		return fail("resource.scheme", saw)
	case !strings.EqualFold(u.Hostname(), w.url.Hostname()):
		return fail("resource.host", saw)
	case port(u) != port(w.url):
		return fail("resource.port", saw)
	case strings.TrimSuffix(got, "/") == strings.TrimSuffix(want, "/") && (u.Path == "" || w.url.Path == ""):
		return pass("an origin with and without its slash is the same URL") // RFC 3986, section 6.2.3
	case strings.TrimSuffix(got, "/") == strings.TrimSuffix(want, "/"):
		return fail("resource.trailing-slash", saw)
	case u.EscapedPath() == w.url.EscapedPath() && u.RawQuery == w.url.RawQuery:
		return pass("the same URL in another spelling; give clients " + got)
	}
	return fail("resource.path", saw)
}

func (w *walk) checkServers(context.Context) outcome {
	if len(w.resource.AuthorizationServers) == 0 {
		return fail("servers.none", w.resourceAt+" has no authorization_servers")
	}
	issuer := w.resource.AuthorizationServers[0]
	u, err := url.Parse(issuer)
	if err != nil || !w.probe.usable(u) || u.RawQuery != "" {
		return fail("servers.unusable", issuer)
	}
	w.issuer = issuer
	if n := len(w.resource.AuthorizationServers); n > 1 {
		return pass(fmt.Sprintf("%s; %d more are not looked at", issuer, n-1))
	}
	return pass(issuer)
}
