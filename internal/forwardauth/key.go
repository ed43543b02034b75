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

// presented returns the one credential of a request: in Authorization or, where
// the resource names a header for API keys, in that one. Two are refused, and none
// is ever looked for in the query.
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

// keyLines returns the lines of the header for API keys, none where there is no
// such header.
func (q *Request) keyLines(r *resource.Resource) []string {
	if r.KeyHeader == "" {
		return nil
	}
	return q.Other[r.KeyHeader]
}

// forwardedFor is the one header by which the address of a client is known.
const forwardedFor = "X-Forwarded-For"

// keyFits holds an API key to where it may come from, and everything else to
// Authorization.
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

// expired is the reason why requests with t are refused once its end has come.
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

// aboutKey reports whether a denial is about an API key, whose holder no sign-in
// would help: clients must not be sent to one.
func (d *Decision) aboutKey() bool {
	switch d.Reason {
	case APIKeyMalformed, APIKeyUnknown, APIKeyExpired, APIKeySignInDue, APIKeyRevoked, APIKeyNotAccepted, APIKeyWrongSource, APIKeyRefused, NotAnAPIKey:
		return true
	case NoToken:
		return d.Resource.KeysOnly()
	}
	return d.Token != nil && d.Token.key() != nil
}

// told is the answer to a denial: that of its reason, in words about keys where it is
// about one.
func (d *Decision) told() *answer {
	switch {
	case !d.aboutKey():
	case d.Reason == NoToken:
		return &noKey
	case d.Reason == Revoked, d.Reason == DeniedByOperator:
		return &answers[APIKeyRevoked]
	}
	return &answers[d.Reason]
}

// removal is what to take from an allowed request, as names and as the one header
// line that Envoy takes.
type removal struct{ names, line []string }

func remove(names []string) *removal { return &removal{names, []string{strings.Join(names, ",")}} }

// removalOf is what is taken from a request to r: other spellings of the headers
// that are set, the header for API keys, and DPoP proofs. The MCP server has no use for
// these, and might show them.
func (e *Endpoint) removalOf(r *resource.Resource) *removal {
	names := aliases(e.out[r.Index].names...)
	if r.KeyHeader != "" {
		names = append(names, append([]string{strings.ToLower(r.KeyHeader)}, aliases(r.KeyHeader)...)...)
	}
	if r.DPoP.Accepts() {
		names = append(names, strings.ToLower(dpop.Header))
	}
	for _, a := range e.Additions[r.URI] {
		names = append(names, aliases(a.Name)...)
	}
	return remove(names)
}

// Others lists the headers that a decision may look up in Headers.Other, by their
// canonical names: those that resources name for API keys, and where networks of
// proxies are configured the one with the client's address.
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
