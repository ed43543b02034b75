package forwardauth

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// maxIdentityBytes bounds all identity headers together, with their names. nginx reads
// the headers of our answer into 4 KB by default.
const maxIdentityBytes = 3800

// headers returns the values of all headers that r gets with a token: first those of the
// identity provider's token, then the identity headers in the room that is left. The
// signed identity header is the last one.
func (e *Endpoint) headers(p *credential.Principal, r *resource.Resource) ([]string, *signing) {
	t, most := r.Server().ProviderToken, maxIdentityBytes
	front := providerHeaders(p, t)
	if t != nil {
		most = min(most, t.MaxBytes-size(t.Names(), front))
	}
	values, signing := e.identity(p, r, most)
	return append(front, values...), signing
}

// providerHeaders returns the values of the headers of t, in the order of its names. A
// value is "-" if there is nothing to send: if the header were missing, the client's own
// would get through.
func providerHeaders(p *credential.Principal, t *resource.ProviderToken) []string {
	switch {
	case t == nil:
		return nil
	case p.ProviderToken == "" && p.ProviderHandle == "":
		return slices.Repeat([]string{nothing}, len(t.Names()))
	case t.HandleHeader == "":
		return []string{t.Line(string(p.ProviderToken))}
	case p.ProviderHandle != "":
		return []string{nothing, p.ProviderHandle}
	}
	return []string{t.Line(string(p.ProviderToken)), nothing}
}

// identity returns the values of the identity headers for a token, of at most most bytes,
// and what the signed one is made of, nil if there is none. If all groups do not fit, the
// signed header leaves them out and says so. If that is not enough, the groups header is
// empty too. A server that goes by groups can then only give less.
func (e *Endpoint) identity(p *credential.Principal, r *resource.Resource, most int) ([]string, *signing) {
	if e.Identities == nil {
		return e.values(p, most), nil
	}
	id := token.Identity{
		Issuer: r.Host.Issuer, Audience: r.URI, Subject: p.Subject, Email: p.Email, Name: p.Name,
		Client: oauth.ShortClientID(p.Client), Scope: p.Scope, GroupsOmitted: p.GroupsCut || len(p.Groups) > 0,
		Roles: p.Roles, Context: p.Context, Act: p.Actor,
	}
	if r.Exchange != nil && p.Family != "" && p.Outsider == nil {
		// Without a ticket a later token exchange is refused, and says why.
		_ = e.Identities.Tickets.Add(&id, token.Ticket{
			Family: p.Family, TokenID: p.ID, Issued: p.IssuedAt, Expires: p.Expires, EmailUnknown: p.EmailUnknown, Provider: p.ProviderToken != "" || p.ProviderHandle != "",
		})
	}
	least, err := id.Payload()
	room := most - e.Identities.Size(least)
	values := e.values(p, room)
	if err != nil || size(e.names, values) > room {
		return e.values(p, most), nil // "-", which no server takes for a user
	}
	id.Groups, id.GroupsOmitted = p.Groups, p.GroupsCut
	all, err := id.Payload()
	if err != nil || size(e.names, values)+e.Identities.Size(all) > most {
		return values, &signing{payload: least}
	}
	return values, &signing{payload: all}
}

// values returns the value of each identity header, in the order of e.names. Each header
// always has a value, because some gateways let the client's own copy of a missing one
// through. The signed header is filled in later. If the lines need more than room bytes,
// values leaves out the groups, then the roles, the scopes, the context and the name,
// until they fit.
func (e *Endpoint) values(p *credential.Principal, room int) []string {
	lines := []struct{ name, value string }{
		{e.Headers.User, headerValue(p.Subject)},
		{e.Headers.Email, headerValue(p.Email)},
		{e.Headers.Groups, headerValue(p.Groups...)},
		{e.Headers.Name, headerValue(p.Name)},
		{e.Headers.Client, headerValue(oauth.ShortClientID(p.Client))},
		{e.Headers.Scope, headerValue(p.Scope)},
		{e.Headers.Actor, headerValue(p.Actor.Names()...)},
		{e.Headers.Roles, headerValue(p.Roles...)},
		{e.Headers.Context, headerValue(p.Context)},
		{e.Headers.JWT, nothing},
	}
	const groups, name, scope, roles, context = 2, 3, 5, 7, 8
	size := 0
	for _, l := range lines {
		size += lineBytes(l.name, l.value)
	}
	for _, i := range []int{groups, roles, scope, context, name} {
		if l := &lines[i]; size > room && l.name != "" {
			size -= len(l.value) - len(nothing)
			l.value = nothing
		}
	}
	values := make([]string, 0, len(e.names))
	for _, l := range lines {
		if l.name != "" {
			values = append(values, l.value)
		}
	}
	return values
}

// size returns how many bytes header lines of these names and values have.
func size(names, values []string) int {
	n := 0
	for i, name := range names {
		n += lineBytes(name, values[i])
	}
	return n
}

// lineBytes returns the size of a header line, 0 if there is no name.
func lineBytes(name, value string) int {
	if name == "" {
		return 0
	}
	return len(name) + len(": ") + len(value) + len("\r\n")
}

// signing is what a token holds if there is a signed identity header.
type signing struct {
	payload string      // the claims that are signed
	busy    atomic.Bool // a request is signing
	last    atomic.Pointer[signed]
}

// signed holds the values of the identity headers, with a signed one among them. It is
// made again after renew, and cannot be used after expires.
type signed struct {
	values         []string
	renew, expires int64 // Unix seconds
}

// identityOf returns the values of the identity headers of an allowed request. If there
// is a signed header, it is signed again after half of its lifetime.
func (e *Endpoint) identityOf(ctx context.Context, t *Token) []string {
	if t.signing == nil {
		return t.identity
	}
	now := e.Now()
	last := t.signing.last.Load()
	if last != nil && now.Unix() < last.renew {
		return last.values
	}
	// One request signs. The others take the last values while they are good.
	first := t.signing.busy.CompareAndSwap(false, true)
	if !first && last != nil && now.Unix() < last.expires {
		return last.values
	}
	if first {
		defer t.signing.busy.Store(false)
	}
	expires := now.Add(e.Identities.Lifetime)
	if end := time.Unix(t.Expires, 0); end.Before(expires) {
		expires = end
	}
	raw, err := e.Identities.Sign(t.signing.payload, now, expires)
	if err != nil {
		if log := e.Audit.Logger; log != nil {
			log.ErrorContext(ctx, "internal error: the identity header cannot be signed", "error", err)
		}
		return t.identity // with "-" in place of the signed header
	}
	values := append(t.identity[:len(t.identity)-1:len(t.identity)-1], raw) // the signed header is the last
	t.signing.last.Store(&signed{values: values, renew: now.Unix() + (expires.Unix()-now.Unix()+1)/2, expires: expires.Unix()})
	return values
}
