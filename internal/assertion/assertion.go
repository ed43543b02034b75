// Package assertion is the seam for what a machine shows at the token endpoint in
// the place of a sign-in: a JWT that another server signed about it (RFC 7523,
// section 2.1). A Kind says which JWTs are its own and what they must hold; this
// package does for all of them what must not differ: it takes the token apart, finds
// its issuer among those of the configuration before anything is fetched, and checks
// times and signature. A rule of the issuer's entry then says what the machine may
// have; without one it gets nothing.
//
// No kind passes for another: each has its own values of typ, its own issuers and
// keys, its own name space of what was used, and none takes what this service issues.
package assertion

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/actor"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/claim"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/signed"
)

// MaxBytes bounds an assertion.
const MaxBytes = 16 << 10

// Kind is one form of assertion.
type Kind interface {
	// Name is its value of the key kind.
	Name() string
	// Types are the values of the header typ that it has, in lower case, "" for none.
	Types() []string
	// Defaults are what an entry of the kind has that does not say otherwise.
	Defaults() Defaults
	// Check finds mistakes in the keys of an entry that are for some kinds alone.
	Check(c Checked)
	// Read holds the claims to the kind's rules and fills in t.Grantee. Its errors are
	// for the log. The signature is checked after it.
	Read(t *Token) error
	// NeedsClient: the assertion names the client that may show it.
	NeedsClient() bool
}

// Defaults of a kind.
type Defaults struct {
	// SingleUse: an assertion is good once.
	SingleUse bool
	// MaxLifetime is how long after its iat an assertion may expire.
	MaxLifetime time.Duration
}

// Place is where and by whom an assertion is shown.
type Place struct {
	Issuer        string // of the host
	TokenEndpoint string
	Client        string // id of the client, "" where it did not say who it is
}

// Token is an assertion that is being read.
type Token struct {
	*signed.Token
	Place
	Config *Config
	Now    time.Time
	Issued time.Time
	Grantee
}

// Grantee is who an assertion is about, and what it says of what they may have.
type Grantee struct {
	Person connector.Identity
	// Roles and Context are what the issuer says of a workload besides its groups.
	Roles   []string
	Context string
	// Actor is who acts for the person; nil for no one.
	Actor *actor.Actor
	// Named are the resources that the assertion is for; none for what the rules say.
	Named []string
	// Scopes bound what it is for; nil is no bound of its own.
	Scopes oauth.Scopes
	// Expires is when the assertion dies.
	Expires time.Time
	// ServiceAccount and Namespace say where a workload runs; "" where that is not said.
	ServiceAccount, Namespace string
	// Key is the thumbprint of the key that must be proved beside the assertion, by
	// DPoP; "" for none. The access token is bound to it, too.
	Key string
	// Used is what is used up when a token is issued, "" for an assertion that may be
	// shown again.
	Used string

	claims claim.Set
	config *Config
}

// Why an assertion is refused. Each is an oauth.Error.
func refused(reason reasons.Reason, cause error) error {
	return &oauth.Error{Code: oauth.InvalidGrant, Description: "the assertion is not valid", Reason: reason, Cause: cause}
}

// Registry knows the issuers of the configuration.
type Registry struct {
	kinds   []Kind
	trusted map[entry]*trusted
	order   []*trusted
	now     func() time.Time
}

type entry struct{ kind, issuer string }

type trusted struct {
	*Config
	keys *jwks.Set
}

// NewRegistry makes the registry of these entries; keys returns the keys of an entry.
func NewRegistry(kinds []Kind, entries []Config, keys func(*Config) *jwks.Set, now func() time.Time) *Registry {
	r := &Registry{kinds: kinds, trusted: map[entry]*trusted{}, now: now}
	for i := range entries {
		c := &entries[i]
		t := &trusted{c, keys(c)}
		r.trusted[entry{c.Kind.Name(), c.Issuer}] = t
		r.order = append(r.order, t)
	}
	return r
}

// Offers reports whether some rule gives something at a resource, of any kind for
// kind "". A nil registry offers nothing.
func (r *Registry) Offers(kind, resource string) bool {
	return r != nil && slices.ContainsFunc(r.order, func(t *trusted) bool {
		return (kind == "" || t.Kind.Name() == kind) && slices.ContainsFunc(t.Rules, func(rule Rule) bool { return slices.Contains(rule.Resources, resource) })
	})
}

// NeedsClient reports whether an assertion is, by its own word, of a kind that names
// the client which may show it.
func (r *Registry) NeedsClient(raw string) bool {
	typ := signed.UnverifiedType(raw)
	return slices.ContainsFunc(r.kinds, func(k Kind) bool { return k.NeedsClient() && slices.Contains(k.Types(), typ) })
}

// Trouble lists the issuers whose keys cannot be fetched, one in each line.
func (r *Registry) Trouble() []string {
	if r == nil {
		return nil
	}
	var all []string
	for _, t := range r.order {
		if problem := t.keys.Trouble(); problem != "" {
			all = append(all, "trusted issuer "+t.Issuer+": "+problem)
		}
	}
	return all
}

// Read returns who an assertion is about. It waits for keys where the issuer may have
// one that is not known here. Errors are those of package oauth.
func (r *Registry) Read(ctx context.Context, raw string, at Place) (*Grantee, error) {
	t, from, err := r.parse(raw, at)
	if err != nil {
		return nil, err
	}
	if err := t.check(); err != nil {
		return nil, refused(reasons.InvalidAssertion, err)
	}
	key, reason := t.Verify(from.keys, from.Issuer, t.Issued)
	if key == nil && reason == "" {
		fetched := from.keys.Await(ctx)
		if key, reason = t.Verify(from.keys, from.Issuer, t.Issued); key == nil && reason == "" {
			reason = reasons.IssuerKeysUnavailable
			if fetched && !from.keys.Failed() {
				reason = reasons.UnknownSigningKey
			}
		}
	}
	switch reason {
	case "":
		return &t.Grantee, nil
	case reasons.IssuerKeysUnavailable:
		return nil, &oauth.Error{Code: oauth.TemporarilyUnavailable, Description: "the keys of the assertion's issuer cannot be had right now", Reason: reason}
	}
	return nil, refused(reasons.InvalidAssertion, errors.New(strings.ReplaceAll(string(reason), "_", " ")))
}

// Dry reads an assertion as Read does, without its signature and its times: what it
// would come to if both were right. It fetches nothing.
func (r *Registry) Dry(raw string, at Place) (*Grantee, error) {
	t, _, err := r.parse(raw, at)
	if err != nil {
		return nil, err
	}
	if err := t.read(); err != nil {
		return nil, refused(reasons.InvalidAssertion, err)
	}
	return &t.Grantee, nil
}

// parse takes an assertion apart and finds whose it is: by its type the kind, by its
// issuer the entry. Nothing has been fetched when that is known.
func (r *Registry) parse(raw string, at Place) (*Token, *trusted, error) {
	if len(raw) > MaxBytes {
		return nil, nil, refused(reasons.InvalidAssertion, fmt.Errorf("it is larger than %d bytes", MaxBytes))
	}
	var types []string
	for _, k := range r.kinds {
		types = append(types, k.Types()...)
	}
	parsed, reason := signed.Parse(raw, types, signed.Algorithms)
	if reason != "" {
		return nil, nil, refused(reasons.InvalidAssertion, errors.New(strings.ReplaceAll(string(reason), "_", " ")))
	}
	for _, k := range r.kinds {
		if !slices.Contains(k.Types(), parsed.Typ) {
			continue
		}
		from := r.trusted[entry{k.Name(), issuerOf(parsed.Claims)}]
		if from == nil {
			continue
		}
		if !slices.Contains(from.Algorithms, parsed.Alg) {
			return nil, nil, refused(reasons.InvalidAssertion, fmt.Errorf("the algorithm %s is not one of its issuer's", parsed.Alg))
		}
		t := &Token{Token: parsed, Place: at, Config: from.Config, Now: r.now()}
		t.Grantee = Grantee{claims: parsed.Claims, config: from.Config}
		return t, from, nil
	}
	return nil, nil, refused(reasons.UnknownAssertionIssuer, fmt.Errorf("no entry of trustedIssuers has the issuer %.200q for an assertion of type %.40q", issuerOf(parsed.Claims), parsed.Typ))
}

// issuerOf is the issuer that claims name. A JWT-SVID names none; its trust domain
// stands in its subject (SPIFFE JWT-SVID, section 3).
func issuerOf(claims claim.Set) string {
	if iss, problem := claims.Text("iss"); iss != "" || problem != "" || claims.Has("iss") {
		return iss
	}
	rest, ok := strings.CutPrefix(claims.String("sub"), "spiffe://")
	domain, _, _ := strings.Cut(rest, "/")
	if !ok || domain == "" {
		return ""
	}
	return "spiffe://" + domain
}

func (t *Token) check() error {
	if err := t.checkTimes(); err != nil {
		return err
	}
	return t.read()
}

// read is what holds for every kind but for the times, and then the kind's own.
func (t *Token) read() error {
	for _, name := range []string{"nonce", "at_hash", "c_hash", "s_hash", "events"} {
		if t.Claims.Has(name) {
			return fmt.Errorf("it has the claim %s, so it is another kind of token", name)
		}
	}
	if t.Claims.Has("authorization_details") {
		return errors.New("it has the claim authorization_details, which this service cannot hold it to")
	}
	if t.Claims.Has("cnf") {
		var ok bool
		if t.Key, ok = t.Thumbprint(); !ok {
			return errors.New("it has a claim cnf that is no thumbprint of a key (jkt)")
		}
	}
	if err := t.Config.Kind.Read(t); err != nil {
		return err
	}
	if t.Config.SingleUse {
		return t.use()
	}
	return nil
}

// checkTimes (RFC 7523, section 3): exp and iat are required.
func (t *Token) checkTimes() error {
	expires, ok := t.Date("exp")
	issued, ok2 := t.Date("iat")
	before, ok3 := t.Date("nbf")
	latest := t.Now.Add(t.Config.Leeway)
	switch {
	case !ok || !ok2 || !ok3:
		return errors.New("exp, iat or nbf is not a time")
	case expires.IsZero() || issued.IsZero():
		return errors.New("exp or iat is missing")
	case !t.Now.Before(expires.Add(t.Config.Leeway)):
		return errors.New("exp has passed")
	case issued.After(latest), before.After(latest):
		return errors.New("iat or nbf is ahead; do the clocks differ?")
	case !expires.After(issued):
		return errors.New("exp is not after iat")
	case expires.Sub(issued) > t.Config.MaxLifetime:
		return fmt.Errorf("it lives for %s, longer than %s", expires.Sub(issued), t.Config.MaxLifetime)
	}
	t.Issued, t.Expires = issued, expires.Add(t.Config.Leeway)
	return nil
}

// maxJTI bounds a jti, in bytes.
const maxJTI = 512

// use says what is used up. Each kind and issuer has its own name space.
func (t *Token) use() error {
	jti, problem := t.Claims.Text("jti")
	if problem != "" || jti == "" || len(jti) > maxJTI {
		return errors.New("jti is missing or cannot be read, and each assertion is good once")
	}
	sum := sha256.Sum256([]byte(t.Config.Issuer + "\x00" + jti))
	t.Used = t.Config.Kind.Name() + " assertion " + base64.RawURLEncoding.EncodeToString(sum[:])
	return nil
}

// ForUs checks that every element of aud is this service: its issuer, with or without
// a slash at the end, or its token endpoint. An assertion that is for another server
// too could be shown here by that server.
func (t *Token) ForUs(tokenEndpoint bool) error {
	audiences, ok := t.Texts("aud")
	if !ok || len(audiences) == 0 || !t.Claims.Has("aud") {
		return errors.New("aud is missing or cannot be read")
	}
	for _, aud := range audiences {
		if strings.TrimSuffix(aud, "/") != t.Place.Issuer && !(tokenEndpoint && aud == t.TokenEndpoint) {
			return fmt.Errorf("aud holds %.200q, which is not this issuer", aud)
		}
	}
	return nil
}

// Subject returns the subject as the issuer spells it, in the issuer's namespace.
func (t *Token) Subject() (connector.Identity, error) {
	id := connector.Identity{Provider: t.Config.Issuer, Namespace: t.Config.Namespace, Subject: claim.Subject(t.Claims.String("sub"))}
	if id.Subject == "" {
		return id, errors.New("sub is missing or cannot be read")
	}
	for _, other := range t.Config.Reserved {
		if strings.HasPrefix(id.FullSubject(), other+":") {
			return id, errors.New("sub is spelled like a subject of another issuer")
		}
	}
	return id, nil
}
