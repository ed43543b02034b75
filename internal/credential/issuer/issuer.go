// Package issuer is the kind of credential that another authorization server
// issues: access tokens that are JWTs (RFC 9068, and what servers send that know
// only RFC 7519).
//
// The issuer that a token names chooses who verifies it, before any network
// access, and each issuer has keys of its own: a key of one verifies nothing of
// another. Keys are fetched in the background, and for a token with a key that is
// not known, at most once in ten seconds for each issuer. Known keys go on while
// the issuer is down.
package issuer

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/claim"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keysource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/signed"
)

// Options are what the configuration does not say.
type Options struct {
	// Transport is the way to an issuer that presents a certificate of these
	// authorities; nil is http.DefaultTransport.
	Transport func(authorities []byte) http.RoundTripper
	// Report, if set, is told of every attempt to get keys.
	Report func(jwks.Fetch)
	Now    func() time.Time
}

// Kind verifies access tokens of other issuers.
type Kind struct {
	opt  Options
	at   map[*resource.Resource]map[string]*accepted // by issuer
	sets map[keysource.Place]*jwks.Set
	// order is that of the configuration, for reports.
	order []*accepted
}

// accepted is one issuer as one resource takes its tokens.
type accepted struct {
	config    Config
	audiences []string
	set       *jwks.Set
}

// New returns the kind that is turned on nowhere.
func New(opt Options) *Kind {
	if opt.Transport == nil {
		opt.Transport = func([]byte) http.RoundTripper { return http.DefaultTransport }
	}
	if opt.Report == nil {
		opt.Report = func(jwks.Fetch) {}
	}
	return &Kind{opt: opt, at: map[*resource.Resource]map[string]*accepted{}, sets: map[keysource.Place]*jwks.Set{}}
}

// Accept turns the kind on at r for the tokens of c.Issuer. It must not be called
// once there are requests.
func (k *Kind) Accept(r *resource.Resource, c Config) {
	a := &accepted{config: c, audiences: c.Audiences, set: k.set(c)}
	if len(a.audiences) == 0 {
		a.audiences = []string{r.URI, r.URI + "/"}
	}
	if k.at[r] == nil {
		k.at[r] = map[string]*accepted{}
	}
	k.at[r][c.Issuer] = a
	k.order = append(k.order, a)
}

func (k *Kind) set(c Config) *jwks.Set {
	if !c.NeedsKeys() {
		return jwks.NewSet(c.Issuer, nil, func(jwks.Fetch) {}, k.opt.Now) // which is never asked
	}
	key := c.Of(c.Issuer)
	if s := k.sets[key]; s != nil {
		return s
	}
	var fetch func(context.Context) (jwks.Document, error)
	if c.JWKSFile == "" {
		fetch = c.Source(c.Issuer).Over(k.opt.Transport(c.Authorities)).Fetch
	}
	s := jwks.NewSet(c.Issuer, fetch, k.opt.Report, k.opt.Now)
	k.sets[key] = s
	return s
}

// Adopt takes over the keys that another Kind has of the same issuers from the same
// place. It must be called after Accept and before k is used.
func (k *Kind) Adopt(from *Kind) {
	for key, s := range k.sets {
		if old := from.sets[key]; old != nil {
			s.Adopt(old)
		}
	}
}

// Files are the files with key sets, each with what puts its content in force.
func (k *Kind) Files() map[string]func(data []byte) (keys int, err error) {
	files := map[string]func([]byte) (int, error){}
	for place, s := range k.sets {
		name := place.File()
		if name == "" {
			continue
		}
		before := files[name]
		files[name] = func(data []byte) (int, error) {
			if before != nil { // another issuer has the same file, and a set of its own
				if n, err := before(data); err != nil {
					return n, err
				}
			}
			return s.Load(data)
		}
	}
	return files
}

// Run fetches keys until ctx ends.
func (k *Kind) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, s := range k.sets {
		all.Go(func() { s.Run(ctx) })
	}
	all.Wait()
}

// Trouble lists the issuers whose keys cannot be fetched, one in each line.
func (k *Kind) Trouble() []string {
	var all []string
	seen := map[*jwks.Set]bool{}
	for _, a := range k.order {
		if !a.config.NeedsKeys() {
			continue
		}
		if problem := a.set.Trouble(); problem != "" && !seen[a.set] {
			all = append(all, "issuer "+a.config.Issuer+": "+problem)
		}
		seen[a.set] = true
	}
	return all
}

// Recognises reports whether raw is a JWT, at a resource that takes those of any
// other issuer.
func (k *Kind) Recognises(raw string, r *resource.Resource) bool {
	return len(k.at[r]) > 0 && credential.HasJWTForm(raw)
}

// Verify returns the principal of a token for r.
func (k *Kind) Verify(raw string, r *resource.Resource) (credential.Principal, error) {
	_, p, err := k.verify(raw, r)
	return p, err
}

// Ask waits for the keys of the token's issuer.
func (k *Kind) Ask(ctx context.Context, raw string, r *resource.Resource) (credential.Principal, error) {
	a, err := k.accepted(raw, r)
	if err != nil {
		return credential.Principal{}, err
	}
	fetched := a.set.Await(ctx)
	missing, p, err := k.verify(raw, r)
	switch {
	case !missing:
		return p, err
	case fetched && !a.set.Failed():
		return p, refuse(reasons.UnknownSigningKey)
	}
	return p, refuse(reasons.IssuerKeysUnavailable)
}

// accepted finds who verifies raw at r, by the issuer that it names.
func (k *Kind) accepted(raw string, r *resource.Resource) (*accepted, error) {
	issuer, isJWT := credential.UnverifiedIssuer(raw)
	if !isJWT {
		return nil, errMalformed
	}
	if a := k.at[r][issuer]; a != nil && !a.config.NoKeys {
		return a, nil
	}
	return nil, refuse(reasons.UnknownIssuer)
}

// verify is Verify; missing says that the key is not known here, and that the
// issuer may have it.
func (k *Kind) verify(raw string, r *resource.Resource) (missing bool, p credential.Principal, err error) {
	a, err := k.accepted(raw, r)
	if err != nil {
		return false, p, err
	}
	t, err := a.read(raw, k.opt.Now())
	if err != nil {
		return false, p, err
	}
	key, err := t.verify()
	switch {
	case err != nil:
		return false, p, err
	case key == nil:
		return true, p, credential.ErrUnknown
	}
	p, err = t.principal(key, r)
	return false, p, err
}

// Told returns the principal of a token for which the issuer returned these claims when
// it was asked, to be held to what r accepts as those of a JWT are. It knows no keys.
func (k *Kind) Told(issuer, raw string, claims claim.Set, r *resource.Resource) (credential.Principal, error) {
	a := k.at[r][issuer]
	if a == nil {
		return credential.Principal{}, refuse(reasons.UnknownIssuer)
	}
	t := &token{accepted: a, Token: signed.Token{Raw: raw, Claims: claims}, now: k.opt.Now()}
	if err := t.checkClaims(); err != nil {
		return credential.Principal{}, err
	}
	return t.principal(nil, r)
}

// principal is whom the token is for and what it gives. By is the key that
// verified it, nil for a token whose issuer was asked.
func (t *token) principal(by *jwks.Published, r *resource.Resource) (credential.Principal, error) {
	id, ok := t.identity()
	if !ok {
		return credential.Principal{}, refuse(reasons.NoSubject)
	}
	who := t.config.Outsider(id, t.client())
	who.Actors = t.actor.Names()
	issued := t.now // no later, however far the issuer's clock is ahead
	if !t.issued.IsZero() && t.issued.Before(issued) {
		issued = t.issued
	}
	p := credential.Principal{
		Issuer: t.config.Issuer, Audience: r.URI, Subject: id.FullSubject(), Actor: t.actor, Client: t.config.clientID(t.client()), Scope: t.scope(),
		Email: id.Email, Name: id.Name, Groups: id.Groups, GroupsCut: id.Unknown.Groups,
		Outsider: who,
		ID:       t.id(), Bound: t.bound, IssuedAt: issued.Unix(), Expires: t.expires.Unix(),
	}
	if by == nil {
		return p, nil
	}
	p.Withdrawn = by.Withdrawn
	if until := t.set.Until(); !until.IsZero() {
		p.Until = until.Unix()
	}
	return p, nil
}

// Outsider is a person of the issuer, who uses a client that it knows by that id.
func (c Config) Outsider(id connector.Identity, client string) *policy.Outsider {
	return &policy.Outsider{
		Person: id, SameAs: c.SameAs, ClientID: client,
		Client: policy.Client{Key: oauth.ClientKey(c.clientID(client)), Kind: rule.KindExternal, Host: hostOf(client), HostUnproven: true},
	}
}

// clientID is what a client of the issuer is called here.
func (c Config) clientID(client string) string { return c.Namespace + ":" + client }

// hostOf returns the host of a client id that is the URL of a metadata document, or "".
func hostOf(client string) string {
	u, err := url.Parse(client)
	if err != nil || u.Scheme != "https" {
		return ""
	}
	return u.Host
}
