package forwardauth

import (
	"strings"
	"sync"
	"sync/atomic"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// Token is an access token that was found good. It is shared by all requests
// that carry it and must not be changed. There may be a million of them, so it
// is kept small: its strings have one array, and what many tokens have in common
// they share.
type Token struct {
	Subject string
	Client  string // oauth.ShortClientID of the client id
	ID      string
	Expires int64 // Unix seconds
	*Grant

	email, family string
	identity      []string // the values of the identity headers
	signing       *signing // nil without a signed one
	// checked is the version of the list of what is ended at which nothing was
	// known against the token.
	checked atomic.Uint64
}

// Grant is what tokens of one scope at one resource, of people and clients that
// the same rules hold for, have in common.
type Grant struct {
	Resource *resource.Resource
	Scope    string // the claim
	Scopes   oauth.Scopes
	// bound is what the rules leave of Scopes, opens that and what it includes.
	bound policy.Bound
	opens oauth.Scopes
}

// remember makes the Token of claims that were verified. It keeps nothing of
// the memory that they were read from.
func (e *Endpoint) remember(c *token.Claims, p *token.Person, r *resource.Resource) *Token {
	t := &Token{
		Subject: c.Subject, Client: oauth.ShortClientID(c.ClientID), ID: c.ID, Expires: c.Expires, Grant: e.grant(r, c.Scope, p.Policy),
		email: p.Email, family: c.Family,
	}
	known := *c
	known.Scope = t.bound.Scopes.String() // not what the rules have taken away
	t.identity, t.signing = e.identity(&known, p, r)
	strs := make([]*string, 0, 16)
	strs = append(strs, &t.Subject, &t.Client, &t.ID, &t.email, &t.family)
	for i := range t.identity {
		strs = append(strs, &t.identity[i])
	}
	pack(strs...)
	return t
}

// facts are what the token may be ended by.
func (t *Token) facts() revocation.Facts {
	return revocation.Facts{TokenID: t.ID, Family: t.family, Subject: t.Subject, Email: t.email, Client: t.Client}
}

// pack moves strings into one array. Equal ones share their place in it.
func pack(strs ...*string) {
	size := 0
	for _, s := range strs {
		size += len(*s)
	}
	var b strings.Builder
	b.Grow(size)
	for i, s := range strs {
		if same := firstEqual(strs[:i], *s); same != nil {
			*s = *same
			continue
		}
		at := b.Len()
		b.WriteString(*s)
		*s = b.String()[at:]
	}
}

func firstEqual(strs []*string, want string) *string {
	for _, s := range strs {
		if *s == want {
			return s
		}
	}
	return nil
}

// grants finds the Grant of a scope claim. There are as many as the people
// choose different sets of scopes, so it begins anew when it gets large; tokens
// keep what they have.
type grants struct {
	mu sync.RWMutex
	of map[grantKey]*Grant
}

type grantKey struct {
	resource *resource.Resource
	scope    string
	policy   string
}

const manyGrants = 1 << 12

func (e *Endpoint) grant(r *resource.Resource, scope, matched string) *Grant {
	g := e.grants
	g.mu.RLock()
	found := g.of[grantKey{r, scope, matched}]
	g.mu.RUnlock()
	if found != nil {
		return found
	}
	scope, matched = strings.Clone(scope), strings.Clone(matched)
	scopes := oauth.Scopes(strings.Fields(scope))
	match, _ := e.Policy.For(r.URI).Parse(matched) // by other rules it is nobody's
	bound := match.Bound(scopes)
	made := &Grant{Resource: r, Scope: scope, Scopes: scopes, bound: bound, opens: r.Rules.WithIncluded(bound.Scopes)}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.of) >= manyGrants || g.of == nil {
		g.of = map[grantKey]*Grant{}
	}
	g.of[grantKey{r, scope, matched}] = made
	return made
}
