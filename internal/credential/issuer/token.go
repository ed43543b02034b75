package issuer

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/actor"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/claim"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/signed"
)

// token is a JWT that was taken apart and whose claims were checked. Its signature
// is checked last: a token that is refused anyway costs no signature, and never a
// fetch of keys.
type token struct {
	*accepted
	signed.Token
	now   time.Time
	actor *actor.Actor // who acts for the subject, nil for no one

	bound           string    // the thumbprint of the key that the client must prove, "" for none
	issued, expires time.Time // issued is zero where the token does not say
}

func refuse(r reasons.Reason) error { return credential.Refused{Reason: r} }

var errMalformed = refuse(reasons.MalformedToken)

// read takes raw apart.
func (a *accepted) read(raw string, now time.Time) (*token, error) {
	t, err := a.parse(raw, a.config.Types, now)
	if err != nil {
		return nil, err
	}
	if err := t.checkClaims(); err != nil {
		return nil, err
	}
	return t, nil
}

// parse takes a JWT of one of these types apart.
func (a *accepted) parse(raw string, types []string, now time.Time) (*token, error) {
	parsed, reason := signed.Parse(raw, types, a.config.Algorithms)
	if reason != "" {
		return nil, refuse(reason)
	}
	return &token{accepted: a, Token: *parsed, now: now}, nil
}

// checkClaims holds the claims to what the entry accepts.
func (t *token) checkClaims() error {
	for _, check := range []func() error{t.checkIssuer, t.checkKind, t.checkTimes, t.checkAudience, t.checkTenant, t.checkBinding} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (t *token) checkIssuer() error {
	if iss, problem := t.Claims.Text("iss"); problem != "" || iss != t.config.Issuer {
		return refuse(reasons.UnknownIssuer)
	}
	return nil
}

// otherKinds are values by which Keycloak (typ) and Cognito (token_use) tell what
// is no access token.
var otherKinds = map[string][]string{
	"typ":       {"id", "refresh", "offline", "logout", "userinfo", "serialized-id", "authorization-response", "registrationaccesstoken", "initialaccesstoken"},
	"token_use": {"id", "refresh"},
}

// checkKind refuses ID tokens, logout tokens and security events whatever their
// header says (OpenID Connect Core, section 2; Back-Channel Logout, section 2.4;
// RFC 8417, section 2.2).
func (t *token) checkKind() error {
	for _, name := range []string{"nonce", "at_hash", "c_hash", "s_hash", "events"} {
		if t.Claims.Has(name) {
			return refuse(reasons.WrongTokenType)
		}
	}
	for name, values := range otherKinds {
		if slices.Contains(values, strings.ToLower(t.Claims.String(name))) {
			return refuse(reasons.WrongTokenType)
		}
	}
	return nil
}

func (t *token) checkTimes() error {
	expires, ok := t.Date("exp")
	if !ok || expires.IsZero() { // RFC 9068, section 2.2: exp is required
		return errMalformed
	}
	issued, ok := t.Date("iat")
	notBefore, ok2 := t.Date("nbf")
	if !ok || !ok2 {
		return errMalformed
	}
	t.issued, t.expires = issued, expires.Add(t.config.Leeway)
	latest := t.now.Add(t.config.Leeway)
	switch {
	case !t.now.Before(t.expires):
		return refuse(reasons.ExpiredToken)
	case notBefore.After(latest), issued.After(latest):
		return refuse(reasons.TokenNotYetValid)
	}
	return nil
}

// checkAudience: a token for another server, or for none, is not for this one
// (RFC 9068, section 4).
func (t *token) checkAudience() error {
	if !t.Claims.Has("aud") {
		return refuse(reasons.NoAudience)
	}
	audiences, ok := t.Texts("aud")
	switch {
	case !ok:
		return errMalformed
	case len(audiences) == 0:
		return refuse(reasons.NoAudience)
	case !slices.ContainsFunc(audiences, func(aud string) bool { return slices.Contains(t.audiences, aud) }):
		return refuse(reasons.WrongAudience)
	}
	// An ID token is for the client itself. One that says nothing else of what it is
	// must say at least what it gives.
	if client := t.client(); client != "" && slices.Contains(audiences, client) && !strings.HasSuffix(t.Typ, "at+jwt") && t.scopeClaim() == "" {
		return refuse(reasons.WrongTokenType)
	}
	return nil
}

func (t *token) checkTenant() error {
	if len(t.config.Tenants) > 0 && !slices.Contains(t.config.Tenants, t.Claims.String(t.config.Claims.Tenant)) {
		return refuse(reasons.WrongTenant)
	}
	client := t.client()
	if client == "" || len(t.config.Clients) > 0 && !slices.Contains(t.config.Clients, client) {
		return refuse(reasons.ClientNotAccepted)
	}
	return nil
}

// checkBinding finds out which key the client must prove (RFC 7800, section 3.1), and
// who acts for another (RFC 8693, section 4.1). It refuses what this service cannot
// check or should not take: another kind of proof than DPoP, and one who acts where
// the entry does not say that this is wanted.
func (t *token) checkBinding() error {
	switch {
	case t.Claims.Has("cnf"):
		var ok bool
		if t.bound, ok = t.Thumbprint(); !ok {
			return refuse(reasons.BoundToken)
		}
	case strings.EqualFold(t.Claims.String("typ"), "DPoP"): // and does not say to which key
		return refuse(reasons.BoundToken)
	}
	switch {
	case !t.Claims.Has("act"):
		return nil
	case !t.config.Delegation:
		return refuse(reasons.DelegatedToken)
	}
	acts, err := actor.Parse(t.Claims["act"], t.config.Issuer)
	if err != nil {
		return errMalformed
	}
	t.actor = acts
	return nil
}

// verify checks the signature. It returns the key that verifies it, or nil if the
// issuer may have a key that is not known here.
func (t *token) verify() (*jwks.Published, error) {
	key, reason := t.Token.Verify(t.set, t.config.Issuer, t.issued)
	if reason != "" {
		return nil, refuse(reason)
	}
	return key, nil
}

// client returns the id of the client, "" where there is none that can be read.
func (t *token) client() string {
	for _, name := range t.config.Claims.Client {
		if t.Claims.Has(name) {
			id := t.Claims.String(name)
			if len(id) > conf.MaxURL || conf.HasOther(id, conf.VisibleASCII) {
				return ""
			}
			return id
		}
	}
	return ""
}

func (t *token) scopeClaim() string {
	for _, name := range t.config.Claims.Scope {
		if t.Claims.Has(name) {
			return name
		}
	}
	return ""
}

// maxScopes of a token; more are left out.
const maxScopes = 200

// scope returns the scopes of the token in the names of the MCP server.
func (t *token) scope() string {
	var scopes []string
	add := func(name string) {
		if ours, ok := t.config.ScopeMap[name]; ok {
			name = ours
		}
		if conf.IsScopeToken(name) && !slices.Contains(scopes, name) && len(scopes) < maxScopes {
			scopes = append(scopes, name)
		}
	}
	for _, name := range t.config.AddScopes {
		if !slices.Contains(scopes, name) {
			scopes = append(scopes, name)
		}
	}
	if name := t.scopeClaim(); name != "" {
		listed, _ := t.Claims.Groups(name) // a list of texts, or one text
		for _, entry := range listed {
			for s := range strings.FieldsSeq(entry) {
				add(s)
			}
		}
	}
	return strings.Join(scopes, " ")
}

// identity returns whom the token is for, false if it does not say so in a way
// that no other person can be mistaken for. A client that acts for itself has a
// namespace that no person can have.
func (t *token) identity() (connector.Identity, bool) {
	c := t.config.Claims
	id := connector.Identity{Provider: t.config.Issuer, Namespace: t.config.Namespace}
	id.Subject = claim.Subject(t.Claims.Identifier(c.Subject))
	client := t.client()
	switch {
	case !t.Claims.Has(c.Subject), id.Subject == client: // RFC 9068, section 2.2
		id.Namespace, id.Subject = ClientNamespace+t.config.Namespace, claim.Subject(client)
	case id.Subject == "":
		return id, false
	}
	for _, other := range t.config.Reserved {
		if strings.HasPrefix(id.FullSubject(), other+":") {
			return id, false
		}
	}
	claim.Fill(context.Background(), &id, t.Claims, claim.Names{
		Email: c.Email, Name: c.Name, Groups: c.Groups,
		Verified: func(_ string, source claim.Set) bool { return source.IsTrue(c.EmailVerified) },
	})
	return id, id.Subject != ""
}

// ClientNamespace begins the namespaces of clients that act for themselves. No
// namespace of people has an at sign.
const ClientNamespace = "client@"

// id is what the token can be revoked by, and what the log calls it.
func (t *token) id() string {
	if jti := t.Claims.String("jti"); jti != "" && len(jti) <= 64 && !conf.HasOther(jti, conf.VisibleASCII) {
		return jti
	}
	sum := sha256.Sum256([]byte(t.Raw))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
