// Package forwardauth answers the gateway's question: may this request pass to
// the MCP server? It decides from memory alone: no network, no file, no lock
// that another request could hold for long, and it never waits for a body. What
// it cannot place or verify is denied.
package forwardauth

import (
	"net/http"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/catalog"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// Path is the prefix of every dialect's endpoint.
const Path = "/authenticate"

// Endpoint serves Path.
type Endpoint struct {
	Resources *resource.Table
	Verifier  *token.Verifier
	// Catalogue returns what is known of a resource's scopes, without I/O.
	Catalogue func(r *resource.Resource) *catalog.Catalogue
	Headers   config.IdentityHeaders
	Audit     *audit.Log
	// Count, if set, is told of each decision, for metrics.
	Count func(Reason)
	Now   func() time.Time

	verified *cache
}

// cachedTokens bounds how many verified tokens are remembered.
const cachedTokens = 1 << 20

// New returns e ready to serve.
func New(e Endpoint) *Endpoint {
	// Canonical names, so that setting them costs no lookup per request.
	e.Headers.User = http.CanonicalHeaderKey(e.Headers.User)
	e.Headers.Email = http.CanonicalHeaderKey(e.Headers.Email)
	e.Headers.Groups = http.CanonicalHeaderKey(e.Headers.Groups)
	if e.Count == nil {
		e.Count = func(Reason) {}
	}
	e.verified = newCache(cachedTokens)
	return &e
}

// Owns reports whether the raw request target belongs to this endpoint. It is
// asked before any multiplexer that cleans paths, because a gateway may append
// the original path, and a redirect would reach the MCP client.
func Owns(target string) bool {
	rest, ok := strings.CutPrefix(target, Path)
	return ok && (rest == "" || rest[0] == '/' || rest[0] == '?')
}

// ServeHTTP answers with exactly 200 and no body, or 401 or 403: every other
// status turns into a 500 at some gateway.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		// A gateway may announce a body that it never sends. Without full duplex
		// net/http would wait for it before it writes the answer.
		_ = http.NewResponseController(w).EnableFullDuplex()
	}
	target, reason := e.nginx(r)
	var v *verified
	if reason == Allowed {
		v, reason = e.decide(target.resource, r.Header["Authorization"])
	}
	e.Count(reason)
	if reason == Allowed {
		e.allow(w, v)
		return
	}
	e.deny(w, r, target, reason, v)
}

// contentLengthZero and the like are shared by all answers; net/http does not
// change the slices it is given.
var (
	noStore           = []string{"no-store"}
	contentLengthZero = []string{"0"}
)

// allow sets every identity header, so that a gateway never lets the client's
// own copy through for want of ours.
func (e *Endpoint) allow(w http.ResponseWriter, v *verified) {
	h := w.Header()
	h[e.Headers.User] = v.user
	h[e.Headers.Email] = v.email
	h[e.Headers.Groups] = v.groups
	h["Cache-Control"] = noStore
	h["Content-Length"] = contentLengthZero
	w.WriteHeader(http.StatusOK)
}

// deny answers 401 with one challenge where a token could help, else 403.
func (e *Endpoint) deny(w http.ResponseWriter, r *http.Request, t target, reason Reason, v *verified) {
	entry := audit.Entry{Event: audit.AccessDenied, Reason: reason.String(), Method: r.Header.Get("Mcp-Method"), Tool: r.Header.Get("Mcp-Name")}
	if t.host != nil {
		entry.Host = t.host.Name
	}
	if t.resource != nil {
		entry.Resource = t.resource.URI
	}
	if v != nil {
		entry.Subject, entry.TokenID = v.subject, v.tokenID
	}
	e.Audit.Write(r.Context(), entry)

	h := w.Header()
	h["Cache-Control"] = noStore
	h.Set("Content-Type", "application/json")
	status, code, text := reason.answer()
	if status == http.StatusUnauthorized {
		c := oauth.Challenge{Scope: e.baseline(t.resource), ResourceMetadata: t.resource.MetadataURL(t.metadataPath)}
		if reason != NoToken { // RFC 6750, section 3.1: no error code without a token
			c.Error, c.ErrorDescription = code, text
		}
		h.Set("WWW-Authenticate", c.String())
	}
	w.WriteHeader(status)
	w.Write([]byte(`{"error":"` + string(code) + `","error_description":"` + text + `"}` + "\n"))
}

// maxChallengeScope keeps the challenge within a gateway's header buffer.
const maxChallengeScope = 1 << 10

// baseline is the scope that a client should ask for first.
func (e *Endpoint) baseline(r *resource.Resource) oauth.Scopes {
	if len(r.DefaultScopes) > 0 {
		return r.DefaultScopes
	}
	scopes := oauth.Scopes(e.Catalogue(r).ScopeNames())
	if len(scopes.String()) > maxChallengeScope {
		return nil
	}
	return scopes
}
