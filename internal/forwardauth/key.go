package forwardauth

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// presented returns the one credential of a request. It is in Authorization or, if the
// resource names a header for API keys, in that header; inHeader says that it is in the
// latter. Two credentials are refused. The query is never read.
func presented(q *Request, d *Decision) (raw string, inHeader bool, reason Reason) {
	lines := q.keyLines(d.Resource)
	if len(lines) == 0 {
		raw, d.byDPoP, reason = access(q.Authorization, d.Resource.DPoP.Accepts())
		return raw, false, reason
	}
	if len(lines) > 1 || len(q.Authorization) > 0 {
		return "", true, TwoCredentials
	}
	raw = strings.Trim(lines[0], " ")
	if raw == "" || len(raw) > credential.MaxBytes {
		return "", true, APIKeyMalformed
	}
	return raw, true, Allowed
}

// keyLines returns the lines of the header for API keys, none if the resource has no such
// header.
func (q *Request) keyLines(r *resource.Resource) []string {
	if r.KeyHeader == "" {
		return nil
	}
	return q.Other[r.KeyHeader]
}

// forwardedFor is the header that tells the client's address.
const forwardedFor = "X-Forwarded-For"

// keyFits checks that an API key comes from a network that it may be used from, and that
// any other credential did not come in the header for API keys.
func (e *Endpoint) keyFits(t *Token, q *Request, inHeader bool) Reason {
	key := t.key()
	switch {
	case key == nil && inHeader:
		return NotAnAPIKey
	case key == nil, len(key.Sources) == 0:
		return Allowed
	}
	address, told := e.cameFrom(q)
	if told && slices.ContainsFunc(key.Sources, func(p netip.Prefix) bool { return p.Contains(address) }) {
		return Allowed
	}
	return APIKeyWrongSource
}

// cameFrom returns the address of the client, where it is known.
func (e *Endpoint) cameFrom(q *Request) (address netip.Addr, told bool) {
	if q.Dialect == Served { // no gateway asks, so the peer may be the client
		address = web.ClientAddress(q.Peer, q.Other[forwardedFor], e.TrustedProxies)
		return address, address.IsValid()
	}
	return web.ToldAddress(q.Peer, q.Other[forwardedFor], e.TrustedProxies)
}

// expired returns the reason for requests with t after its expiry.
func (t *Token) expired() Reason {
	if t.key() != nil {
		return APIKeyExpired
	}
	return Expired
}

func toolsOf(k *credential.Key) []string {
	if k == nil {
		return nil
	}
	return k.Tools
}

// aboutKey reports whether a denial is about an API key. Its holder must not be sent to
// sign in, because that would not help.
func (d *Decision) aboutKey() bool {
	switch d.Reason {
	case APIKeyMalformed, APIKeyUnknown, APIKeyExpired, APIKeySignInDue, APIKeyRevoked, APIKeyNotAccepted, APIKeyWrongSource, APIKeyRefused, NotAnAPIKey:
		return true
	case NoToken:
		return d.Resource.KeysOnly()
	}
	return d.Token != nil && d.Token.key() != nil
}

// denial returns the answer to a denial. If it is about an API key, its words are about
// the key.
func (d *Decision) denial() *answer {
	switch {
	case !d.aboutKey():
	case d.Reason == NoToken:
		return &noKey
	case d.Reason == Revoked, d.Reason == DeniedByOperator:
		return &answers[APIKeyRevoked]
	}
	return &answers[d.Reason]
}

// removal names the headers to remove from an allowed request, as a list and as the one
// header line that Envoy takes.
type removal struct{ names, line []string }

// removalOf returns what is removed from a request to r: other spellings of the headers
// that are set, the header for API keys, and DPoP proofs. The MCP server needs no
// credential of the client, and could leak one.
func (e *Endpoint) removalOf(r *resource.Resource) *removal {
	names := aliases(e.upstream[r.Index].names...)
	if r.KeyHeader != "" {
		names = append(names, append([]string{strings.ToLower(r.KeyHeader)}, aliases(r.KeyHeader)...)...)
	}
	if r.DPoP.Accepts() {
		names = append(names, strings.ToLower(dpop.Header))
	}
	for _, a := range e.Additions[r.URI] {
		names = append(names, aliases(a.Name)...)
	}
	return &removal{names, []string{strings.Join(names, ",")}}
}

// Others returns the canonical names of the headers that decisions look up in
// Headers.Other: the headers for API keys; the cookie, Fetch Metadata and language, if
// there are pages; and the client's address, if networks of proxies are configured.
func (e *Endpoint) Others() []string {
	var names []string
	for _, r := range e.Resources.All() {
		if r.KeyHeader != "" && !slices.Contains(names, r.KeyHeader) {
			names = append(names, r.KeyHeader)
		}
	}
	if e.Session != nil {
		names = append(names, cookieHeader, fetchSite, fetchMode, fetchDest, languageHeader)
	}
	if len(e.TrustedProxies) > 0 {
		names = append(names, http.CanonicalHeaderKey(forwardedFor))
	}
	slices.Sort(names)
	return names
}
