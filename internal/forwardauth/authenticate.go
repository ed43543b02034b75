package forwardauth

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// authenticate checks the credential of a request (RFC 6750, section 2.1; RFC 9068,
// section 4). A token that is remembered costs one hash.
func (e *Endpoint) authenticate(ctx context.Context, q *Request, d *Decision) Reason {
	raw, inHeader, reason := presented(q, d)
	if reason != Allowed {
		return reason
	}
	return e.checkCredential(ctx, raw, q, d, inHeader)
}

// checkCredential checks whether raw is good for this request at d.Resource. inHeader
// says that it came in the header for API keys.
func (e *Endpoint) checkCredential(ctx context.Context, raw string, q *Request, d *Decision, inHeader bool) Reason {
	if reason := e.find(ctx, raw, d); reason == MalformedToken && inHeader {
		return NotAnAPIKey
	} else if reason != Allowed {
		return reason
	}
	t := d.Token
	if reason := e.keyFits(t, q, inHeader); reason != Allowed {
		return reason
	}
	if reason := e.standing(t); reason != Allowed {
		return reason
	}
	if reason := e.possession(q, d, raw); reason != Allowed {
		return reason
	}
	e.firstUse(ctx, t)
	return Allowed
}

// find sets d.Token to the verified credential, and d.grant to what it allows at
// d.Resource by the catalogue known now.
func (e *Endpoint) find(ctx context.Context, raw string, d *Decision) (reason Reason) {
	key, now := digest(raw, d.Resource), e.Now().Unix()
	t, g := e.recall(key, now)
	d.lookup = Hit
	if t == nil {
		d.lookup = Miss
		if reason = wellFormed(raw); reason != Allowed {
			return reason
		}
		var no rejection
		if t, no = e.verify(ctx, raw, key, d.Resource); no.reason != Allowed {
			d.Token, d.detail = no.holder, no.detail
			return no.reason
		}
		g = t.Grant
	}
	if now >= t.Expires || t.Issued > now+int64(keyset.Skew/time.Second) { // the clock was set back
		return t.expired()
	}
	d.Token, d.grant = t, g
	return Allowed
}

// recall returns a token that is remembered, and what it is good for now. It returns nil
// if the token must be verified: it is unknown, its kind wants to see it again, or its
// usable scopes have changed, so that its identity headers must be made again.
func (e *Endpoint) recall(key fingerprint, now int64) (*Token, *Grant) {
	t := e.verified.get(key)
	switch {
	case t == nil, t.stale(now):
		return nil, nil
	case e.upToDate(t.Grant):
		return t, t.Grant
	}
	g := e.grant(t.Resource, t.Scope, t.policy, t.Grant.issuer, t.agreed, t.key())
	if !slices.Equal(g.Scopes, t.Scopes) {
		return nil, nil
	}
	return t, g
}

// fingerprint is the cache key of a token at a resource: the first half of the token's
// SHA-256, with the index of the resource XORed in, because a token of another issuer may
// be good for several resources. To find another token with the same fingerprint takes
// 2^128 tries.
type fingerprint [16]byte

// digest returns the fingerprint of raw at res. It hashes in a pooled buffer: converting
// the string to bytes would be the only allocation of a decision, and a buffer on the
// stack would double the stack of each connection for good. Only tokens of other issuers
// can be longer than the buffer.
func digest(raw string, res *resource.Resource) fingerprint {
	buf := plainTokens.Get().(*[token.MaxWithProvider]byte)
	plain := buf[:]
	if len(raw) > len(plain) {
		plain = []byte(raw)
	}
	sum := sha256.Sum256(plain[:copy(plain, raw)])
	clear(buf[:min(len(raw), len(buf))]) // the token is no longer needed
	plainTokens.Put(buf)
	key := fingerprint(sum[:len(fingerprint{})])
	index := key[len(key)-4:]
	binary.BigEndian.PutUint32(index, binary.BigEndian.Uint32(index)^uint32(res.Index))
	return key
}

var plainTokens = sync.Pool{New: func() any { return new([token.MaxWithProvider]byte) }}

// standing returns why t is not honoured any more: it was revoked, or its person or
// client is denied. It looks t up once for each version of the list; otherwise it costs
// an atomic read.
func (e *Endpoint) standing(t *Token) Reason {
	version := e.Ended.Version() // before the check, so that a change during it is seen next time
	if t.checked.Load() == version {
		return Allowed
	}
	switch e.Ended.Check(t.facts()) {
	case revocation.None:
		t.checked.Store(version)
		return Allowed
	case reasons.DeniedByOperator:
		return DeniedByOperator
	}
	return Revoked
}

// Issued verifies and remembers a token of res when it is issued, so that its first
// request at this replica costs no more than later ones. Errors are ignored: the first
// request gets them.
func (e *Endpoint) Issued(raw string, res *resource.Resource) {
	if len(raw) <= token.MaxWithProvider {
		e.verify(context.Background(), raw, digest(raw, res), res)
	}
}

// verify verifies a token that is not remembered, and remembers it if it is good.
func (e *Endpoint) verify(ctx context.Context, raw string, key fingerprint, res *resource.Resource) (*Token, rejection) {
	p, no := e.principal(ctx, raw, res)
	switch {
	case no.reason != Allowed:
		return nil, no
	case e.Now().Unix() >= p.Expires:
		return nil, rejection{reason: Expired}
	}
	t := e.remember(&p, res)
	if reason := t.refused(); reason != Allowed {
		return nil, rejection{reason: reason, holder: t}
	}
	if reason := e.standing(t); reason != Allowed {
		return nil, rejection{reason: reason, holder: t} // not remembered: no later request can use it
	}
	t.unused.Store(&provenance{p.Flow, p.Generation})
	if before := e.verified.put(key, t, e.Now().Unix()); before != nil {
		t.unused.Store(before.unused.Swap(nil))
	}
	return t, rejection{reason: Allowed}
}

// ClientID returns the full id of the client behind a decision that let q through;
// d.Token has the short form. It verifies the credential again, which is too slow for
// every request. It does no I/O: if the kind of credential would need some, it returns
// the short form.
func (e *Endpoint) ClientID(q *Request, d *Decision) string {
	short := d.Token.Client()
	if !strings.HasPrefix(short, oauth.DynamicIDPrefix) {
		return short
	}
	raw, _, reason := presented(q, &Decision{Resource: d.Resource})
	kind, found := e.Credentials.Find(raw, d.Resource)
	if reason != Allowed || !found {
		return short
	}
	p, err := e.Credentials.Verify(kind, raw, d.Resource)
	if err != nil || oauth.ShortClientID(p.Client) != short {
		return short
	}
	return p.Client
}

// firstUse writes the audit entry of the first request that uses a token.
func (e *Endpoint) firstUse(ctx context.Context, t *Token) {
	if t.unused.Load() == nil {
		return
	}
	from := t.unused.Swap(nil)
	if from == nil {
		return // another request was first
	}
	if e.Used != nil {
		e.Used(t.part(family), from.generation, time.Unix(t.Issued, 0))
	}
	e.Audit.Write(ctx, audit.Entry{
		Event: audit.FirstUse, Flow: from.flow, Subject: t.Subject(), Email: t.part(email), Client: t.Client(),
		Host: t.Resource.Host.Name, Resource: t.Resource.URI, Scope: t.Scope, TokenID: t.ID(), Family: t.part(family),
	})
}

// access returns the one token of the one Authorization header. Two headers are refused
// (RFC 6750, section 3.1). A header with another scheme counts as no token, and so does
// DPoP at a resource without bound tokens.
func access(authorization []string, bound bool) (raw string, byDPoP bool, reason Reason) {
	switch len(authorization) {
	case 0:
		return "", false, NoToken
	case 1:
	default:
		return "", false, MalformedCredentials
	}
	scheme, raw, ok := strings.Cut(authorization[0], " ")
	byDPoP = bound && strings.EqualFold(scheme, dpop.Scheme)
	if !byDPoP && !strings.EqualFold(scheme, "Bearer") {
		return "", false, NoToken
	}
	raw = strings.Trim(raw, " ")
	if !ok || raw == "" {
		return "", byDPoP, MalformedCredentials
	}
	if len(raw) > credential.MaxBytes {
		return "", byDPoP, MalformedToken
	}
	return raw, byDPoP, Allowed
}

// wellFormed refuses a value that cannot be one token, such as a list. Tokens that are
// remembered have passed this check.
func wellFormed(raw string) Reason {
	for i := range len(raw) {
		if c := raw[i]; c <= ' ' || c == ',' || c >= 0x7f {
			return MalformedCredentials
		}
	}
	return Allowed
}

// nothing is the value of an identity header that is empty.
const nothing = "-"

// headerValue makes one header line of values, separated by commas. Bytes that could
// split a header or a list are percent-encoded. Without a value it is "-": if the header
// were missing, some gateways would let the client's own copy through.
func headerValue(values ...string) string {
	if len(values) == 1 && plainValue(values[0]) {
		return values[0]
	}
	var b strings.Builder
	for _, v := range values {
		if v == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		for i := range len(v) {
			if c := v[i]; c > ' ' && c < 0x7f && c != ',' && c != '%' && c != '"' || c == ' ' && i > 0 && i < len(v)-1 {
				b.WriteByte(c)
			} else {
				const hex = "0123456789ABCDEF"
				b.WriteByte('%')
				b.WriteByte(hex[c>>4])
				b.WriteByte(hex[c&15])
			}
		}
	}
	if b.Len() == 0 {
		return nothing
	}
	return b.String()
}

// plainValue reports whether headerValue leaves v as it is.
func plainValue(v string) bool {
	for i := range len(v) {
		if c := v[i]; c <= ' ' || c >= 0x7f || c == ',' || c == '%' || c == '"' {
			return false
		}
	}
	return v != ""
}
