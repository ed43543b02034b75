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

// Token is a verified credential. All requests that carry it share it, so it must not be
// changed. A process may hold a million of them, so it is small: its strings are parts of
// one, and what many tokens have in common is in a Grant that they share.
type Token struct {
	*Grant
	Issued  int64 // Unix seconds
	Expires int64

	text string        // subject, client, id, family and email, then the identity values that equal none of these
	ends [parts]uint16 // where each of the five parts ends in text
	// emailUnknown says that the address could not be read, so it may be one that is
	// denied.
	emailUnknown bool
	terms        *terms   // nil for most tokens of clients
	identity     []string // the values of the identity headers
	signing      *signing // nil if there is no signed identity header
	// checked is the version of Endpoint.Ended at which the token was not ended.
	checked atomic.Uint64
	// unused is set until the token is first used.
	unused atomic.Pointer[provenance]
}

// terms holds what only some tokens have.
type terms struct {
	until     int64           // when its kind must verify it again, in Unix seconds
	since     int64           // when it was verified, in Unix seconds
	withdrawn *atomic.Bool    // its kind must verify it again; nil for never
	key       *credential.Key // nil unless it is an API key
	signedIn  int64           // when the person signed in, in Unix seconds; 0 for unknown
	renew     int64           // when a browser session should be renewed, in Unix seconds; 0 for never
	bound     string          // thumbprint of the key that the client must prove, "" for none
	actor     string          // who acts for the subject, for the log
	provider  string          // the session at the provider, see credential.Principal.AtProvider
}

// Actor returns who acts for the subject, "" if no one does.
func (t *Token) Actor() string {
	if t.terms == nil {
		return ""
	}
	return t.terms.actor
}

// key returns the bounds of an API key, nil for every other credential.
func (t *Token) key() *credential.Key {
	if t.terms == nil {
		return nil
	}
	return t.terms.key
}

// bound returns the thumbprint of the key that the client must prove, "" for none.
func (t *Token) bound() string {
	if t.terms == nil {
		return ""
	}
	return t.terms.bound
}

// stale reports whether the kind of credential must verify the token again. It is also
// true if the clock was set back since the token was verified, because until means
// nothing then.
func (t *Token) stale(now int64) bool {
	return t.terms != nil && (now >= t.terms.until || now < t.terms.since-int64(keyset.Skew/time.Second) || t.terms.withdrawn != nil && t.terms.withdrawn.Load())
}

// provenance says where a token comes from, for the audit entry of its first use.
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

// NewToken returns a Token with these facts. It copies the strings, so that the Token
// does not keep the memory of a request; together they must have less than 64 KB.
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

// Subject returns the sub claim.
func (t *Token) Subject() string { return t.part(subject) }

// Family returns the id of the sign-in that the token comes from, "" for none.
func (t *Token) Family() string { return t.part(family) }

// Client returns oauth.ShortClientID of the client_id claim.
func (t *Token) Client() string { return t.part(client) }

// ID returns the jti claim.
func (t *Token) ID() string { return t.part(id) }

// facts returns what a revocation or a denial can name the token by.
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

// Grant is what tokens with the same scope at one resource have in common, if the same
// rules matched their people and clients.
type Grant struct {
	Resource *resource.Resource
	Scope    string       // the scope claim
	Scopes   oauth.Scopes // what the rules leave of Scope
	// bound is all that the rules leave. opens has Scopes and the scopes that they
	// include.
	bound policy.Bound
	opens map[string]bool
	// policy is the claim with the rules that matched. catalogue is what the MCP server
	// was known to advertise when bound was made.
	policy    string
	catalogue Scopes
	// key says that the tokens are API keys, which cannot get more scopes by a sign-in.
	key bool
	// agreed is what the person agreed to, if the tools are held to it; else "".
	agreed string
	// issuer is another authorization server, which has its own names for scopes; "" for
	// this one.
	issuer string
	// changed says that the policy claim is about rules that are not in force any more.
	changed bool
}

// refused returns why every request with such a token is refused, or Allowed.
func (g *Grant) refused() Reason {
	switch {
	case g.changed:
		return PolicyChanged
	case g.bound.Empty() && (g.Resource.Page == nil || g.Resource.Page.Scope != ""):
		return NotAllowed
	}
	return Allowed
}

// remember returns the Token of a verified principal at r.
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

// upToDate reports whether g was made of the catalogue that is known now, or does not
// depend on it.
func (e *Endpoint) upToDate(g *Grant) bool {
	return !g.bound.ByCatalogue || g.catalogue == e.Scopes(g.Resource.Server())
}

// grants caches the Grants by what they are made of. People choose different sets of
// scopes, so there may be many; the cache is emptied when it gets large, and tokens keep
// their Grants.
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
	tools    string // separated by line breaks
	agreed   string
}

const maxGrants = 1 << 12

// grant returns the Grant of tokens with these claims at r, from the cache if it is up to
// date.
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
	if len(g.of) >= maxGrants || g.of == nil {
		g.of = map[grantKey]*Grant{}
	}
	g.of[of] = made
	return made
}
