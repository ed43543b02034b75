package forwardauth

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
)

// Token is an access token that was found good. It is shared by all requests
// that carry it and must not be changed. There may be a million of them, so it
// is kept small: all its strings are in one, and what many tokens have in common
// they share.
type Token struct {
	*Grant
	Issued  int64 // Unix seconds
	Expires int64

	text string // subject, client, id, family and email, and the identity that is none of these
	ends [parts]uint16
	// emailUnknown: the address may be any that the operator denies.
	emailUnknown bool
	terms        *terms   // nil for a token that is good until it expires, and no API key
	identity     []string // the values of the identity headers
	signing      *signing // nil without a signed one
	// checked is the version of the list of what is ended at which nothing was
	// known against the token.
	checked atomic.Uint64
	// unused is what the first use is written down with; nil after it.
	unused atomic.Pointer[provenance]
}

// terms say when the kind of credential wants to see a token again, and what else
// few tokens have.
type terms struct {
	until     int64 // Unix seconds
	since     int64 // when it was seen last
	withdrawn *atomic.Bool
	key       *credential.Key // nil for what is no API key
	signedIn  int64           // when the person signed in, in Unix seconds; 0 for unknown
	renew     int64           // when a browser should fetch another, in Unix seconds; 0 for never
	bound     string          // thumbprint of the key that the client must prove, "" for none
	actor     string          // who acts for the subject, for the log
	provider  string          // the session at the provider, see credential.Principal.AtProvider
}

// Actor is who acts for the subject, "" if it acts alone.
func (t *Token) Actor() string {
	if t.terms == nil {
		return ""
	}
	return t.terms.actor
}

// key bounds an API key; it is nil for everything else.
func (t *Token) key() *credential.Key {
	if t.terms == nil {
		return nil
	}
	return t.terms.key
}

// bound is the thumbprint of the key that the client must prove, "" for none.
func (t *Token) bound() string {
	if t.terms == nil {
		return ""
	}
	return t.terms.bound
}

// stale reports whether the kind of credential has to see the token again: also where
// the clock was set back since, because until says nothing then.
func (t *Token) stale(now int64) bool {
	return t.terms != nil && (now >= t.terms.until || now < t.terms.since-int64(keyset.Skew/time.Second) || t.terms.withdrawn != nil && t.terms.withdrawn.Load())
}

// provenance is where a token comes from.
type provenance struct {
	flow       string
	generation int // of the refresh token that came with it
}

// The parts of a Token's text, in order.
const (
	subject = iota
	client
	id
	family
	email
	parts
)

// NewToken makes the Token of what is known of one. It keeps nothing of the
// memory of the strings, which together have less than 64 KB.
func NewToken(g *Grant, expires int64, known revocation.Facts, identity []string) *Token {
	t := &Token{Grant: g, Expires: expires, identity: make([]string, len(identity))}
	all := [parts]string{subject: known.Subject, client: known.Client, id: known.TokenID, family: known.Family, email: known.Email}
	var b strings.Builder
	size := 0
	for _, s := range all {
		size += len(s)
	}
	for _, s := range identity {
		if !slices.Contains(all[:], s) {
			size += len(s)
		}
	}
	b.Grow(size)
	for i, s := range all {
		b.WriteString(s)
		t.ends[i] = uint16(b.Len())
	}
	from := make([]int, len(identity))
	for i, s := range identity {
		if at := slices.Index(all[:], s); at >= 0 {
			from[i] = int(t.ends[at]) - len(s)
			continue
		}
		from[i] = b.Len()
		b.WriteString(s)
	}
	t.text = b.String()
	for i, s := range identity {
		t.identity[i] = t.text[from[i] : from[i]+len(s)]
	}
	return t
}

func (t *Token) part(i int) string {
	from := uint16(0)
	if i > 0 {
		from = t.ends[i-1]
	}
	return t.text[from:t.ends[i]]
}

// Subject is the sub claim.
func (t *Token) Subject() string { return t.part(subject) }

// Family is the sign-in that the token comes from, "" for none.
func (t *Token) Family() string { return t.part(family) }

// Client is oauth.ShortClientID of the client_id claim.
func (t *Token) Client() string { return t.part(client) }

// ID is the jti claim.
func (t *Token) ID() string { return t.part(id) }

// facts are what the token may be ended by.
func (t *Token) facts() revocation.Facts {
	f := revocation.Facts{
		TokenID: t.part(id), Family: t.part(family), Subject: t.part(subject), Email: t.part(email), EmailUnknown: t.emailUnknown, Client: t.part(client),
		Since: t.Issued - revocation.IssueSlack,
	}
	if t.terms != nil && t.terms.signedIn != 0 {
		f.Since, f.Browser, f.AtProvider = t.terms.signedIn, t.terms.renew != 0, t.terms.provider
	}
	return f
}

// Grant is what tokens of one scope at one resource, of people and clients that
// the same rules hold for, have in common.
type Grant struct {
	Resource *resource.Resource
	Scope    string       // the claim
	Scopes   oauth.Scopes // what the rules leave of it
	// bound is more of what the rules leave, opens are Scopes and what they include.
	bound policy.Bound
	opens map[string]bool
	// policy is the claim, and catalogue what the MCP server was known to advertise,
	// of which bound was made.
	policy    string
	catalogue Scopes
	// key: it is of API keys, which no sign-in gives more.
	key bool
	// agreed is what the person agreed to, and what tools are held to; "" for nothing.
	agreed string
	// issuer has its own names for scopes; this service itself has none.
	issuer string
	// changed: the rules that the claim is about are not those of today.
	changed bool
}

// refused is why requests with a token like this are refused, whatever they ask.
func (g *Grant) refused() Reason {
	switch {
	case g.changed:
		return PolicyChanged
	case g.bound.Empty() && (g.Resource.Page == nil || g.Resource.Page.Scope != ""):
		return NotAllowed
	}
	return Allowed
}

// remember makes the Token of the principal of a verified credential for r.
func (e *Endpoint) remember(p *credential.Principal, r *resource.Resource) *Token {
	issuer, matched := "", p.Policy
	if p.Outsider != nil {
		issuer, matched = p.Issuer, e.Policy.For(r.Server().URI).MatchOutsider(p.Outsider).String()
	}
	g := e.grant(r, p.Scope, matched, issuer, p.Agreed, p.Key)
	known := *p
	known.Scope = g.bound.Scopes.String() // not what the rules have taken away
	identity, signing := e.headers(&known, r)
	t := NewToken(g, p.Expires, revocation.Facts{
		TokenID: p.ID, Family: p.Family, Subject: p.Subject, Email: p.Email, Client: revocation.Client(p.Client),
	}, identity)
	t.Issued, t.signing = p.IssuedAt, signing
	if p.Until != 0 || p.Withdrawn != nil || p.Key != nil || p.Renew != 0 || p.SignedIn != 0 || p.Bound != "" || p.Actor != nil {
		t.terms = &terms{cmp.Or(p.Until, p.Expires), e.Now().Unix(), p.Withdrawn, p.Key, p.SignedIn, p.Renew, strings.Clone(p.Bound), p.Actor.String(), strings.Clone(p.AtProvider)}
	}
	t.emailUnknown = p.EmailUnknown || p.Outsider != nil && p.Outsider.Person.Unknown.Email
	return t
}

// upToDate reports whether g is what the rules leave by what is advertised now.
func (e *Endpoint) upToDate(g *Grant) bool {
	return !g.bound.ByCatalogue || g.catalogue == e.Scopes(g.Resource.Server())
}

// grants finds the Grant of a scope claim. There are as many as the people
// choose different sets of scopes, so it is emptied when it gets large; tokens
// keep what they have.
type grants struct {
	mu sync.RWMutex
	of map[grantKey]*Grant
}

type grantKey struct {
	resource *resource.Resource
	scope    string
	policy   string
	issuer   string
	key      bool
	tools    string // with line breaks between
	agreed   string
}

const manyGrants = 1 << 12

func (e *Endpoint) grant(r *resource.Resource, scope, matched, issuer, agreed string, key *credential.Key) *Grant {
	g, tools := e.grants, toolsOf(key)
	if !r.Server().Rules.HoldChanged {
		agreed = ""
	}
	of := grantKey{r, scope, matched, issuer, key != nil, strings.Join(tools, "\n"), agreed}
	g.mu.RLock()
	found := g.of[of]
	g.mu.RUnlock()
	if found != nil && e.upToDate(found) {
		return found
	}
	catalogue := e.Scopes(r.Server()) // before the rules look, so that a change meanwhile is seen next time
	scope, matched, issuer, agreed = strings.Clone(scope), strings.Clone(matched), strings.Clone(issuer), strings.Clone(agreed)
	of.scope, of.policy, of.issuer, of.agreed = scope, matched, issuer, agreed
	scopes := oauth.Scopes(strings.Fields(scope))
	match, known := e.Policy.For(r.Server().URI).Parse(matched)
	bound := match.Bound(scopes).Only(tools)
	made := &Grant{Resource: r, Scope: scope, Scopes: bound.Scopes, bound: bound, opens: map[string]bool{}, policy: matched, issuer: issuer, catalogue: catalogue, key: key != nil, agreed: agreed, changed: !known}
	for _, s := range r.Server().Rules.WithIncluded(bound.Scopes) {
		made.opens[s] = true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.of) >= manyGrants || g.of == nil {
		g.of = map[grantKey]*Grant{}
	}
	g.of[of] = made
	return made
}
