package oauthtest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// OIDCProvider is a fake OpenID provider.
type OIDCProvider struct {
	fake
	// Issuer is its name: URL, or what NewOIDCProviderAt was told.
	Issuer string

	key, otherKey *rsa.PrivateKey
	kid           string
	now           func() time.Time
	metadata      func(map[string]any)
	claims        func(map[string]any)
	userInfo      func(map[string]any)
	thin          bool
	// userInfoStatus is what the userinfo endpoint answers, 0 for claims.
	userInfoStatus int
	client         clientKey
	// shape makes the claims those of one vendor; describe does so for the
	// discovery document, addKey for the published key.
	shape    func(User, map[string]any)
	describe func(r *http.Request, document map[string]any)
	addKey   func(map[string]any)
}

// testKeys are made once: they cost more than most tests.
var testKeys = sync.OnceValues(func() (*rsa.PrivateKey, *rsa.PrivateKey) {
	one, err1 := rsa.GenerateKey(rand.Reader, 2048)
	two, err2 := rsa.GenerateKey(rand.Reader, 2048)
	if err1 != nil || err2 != nil {
		panic("oauthtest: cannot make RSA keys")
	}
	return one, two
})

// NewOIDCProvider starts one whose issuer is its loopback URL.
func NewOIDCProvider(t testing.TB) *OIDCProvider { return NewOIDCProviderAt(t, "") }

// NewOIDCProviderAt starts one that calls itself issuer; reach it through Client.
func NewOIDCProviderAt(t testing.TB, issuer string) *OIDCProvider {
	t.Helper()
	return newOIDCProvider(t, issuer, func(*OIDCProvider, *http.ServeMux) {})
}

// newOIDCProvider also serves what more adds.
func newOIDCProvider(t testing.TB, issuer string, more func(*OIDCProvider, *http.ServeMux)) *OIDCProvider {
	t.Helper()
	p := &OIDCProvider{kid: "key-1", now: time.Now}
	p.key, p.otherKey = testKeys()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.at(Discovery, p.serveDiscovery))
	mux.HandleFunc("GET /authorize", p.at(Authorization, p.serveAuthorization))
	mux.HandleFunc("POST /token", p.at(Token, p.serveToken))
	mux.HandleFunc("GET /keys", p.at(Keys, p.serveKeys))
	mux.HandleFunc("GET /userinfo", p.at(UserInfo, p.serveUserInfo))
	mux.HandleFunc("/elsewhere", p.at(Elsewhere, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	more(p, mux)
	p.start(t, mux)
	if p.Issuer = issuer; issuer == "" {
		p.Issuer = p.URL
	}
	return p
}

// Commit implements Provider; everything applies.
func (p *OIDCProvider) Commit(fault Fault) bool {
	p.set(func() { p.fault = fault })
	return true
}

// EditMetadata changes the discovery document before it is sent.
func (p *OIDCProvider) EditMetadata(edit func(map[string]any)) { p.set(func() { p.metadata = edit }) }

// EditClaims changes the ID token before it is signed.
func (p *OIDCProvider) EditClaims(edit func(map[string]any)) { p.set(func() { p.claims = edit }) }

// EditUserInfo changes the userinfo response.
func (p *OIDCProvider) EditUserInfo(edit func(map[string]any)) { p.set(func() { p.userInfo = edit }) }

// RefuseUserInfo makes the userinfo endpoint answer with a status; 0 ends that.
func (p *OIDCProvider) RefuseUserInfo(status int) { p.set(func() { p.userInfoStatus = status }) }

// ThinIDTokens leaves all claims about the person to the userinfo endpoint.
func (p *OIDCProvider) ThinIDTokens(on bool) { p.set(func() { p.thin = on }) }

// RotateKey publishes and uses another key under a new kid.
func (p *OIDCProvider) RotateKey(kid string) {
	p.set(func() { p.key, p.otherKey, p.kid = p.otherKey, p.key, kid })
}

// EditKey changes the published key before it is sent.
func (p *OIDCProvider) EditKey(edit func(map[string]any)) { p.set(func() { p.addKey = edit }) }

// SetNow sets the clock of the ID tokens.
func (p *OIDCProvider) SetNow(now func() time.Time) { p.set(func() { p.now = now }) }

func (p *OIDCProvider) committed() Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault
}

func (p *OIDCProvider) serveDiscovery(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	document := map[string]any{
		"issuer":                                         p.Issuer,
		"authorization_endpoint":                         p.Issuer + "/authorize",
		"token_endpoint":                                 p.Issuer + "/token",
		"jwks_uri":                                       p.Issuer + "/keys",
		"userinfo_endpoint":                              p.Issuer + "/userinfo",
		"response_types_supported":                       []string{"code"},
		"subject_types_supported":                        []string{"public"},
		"id_token_signing_alg_values_supported":          []string{"RS256", "HS256", "none"},
		"token_endpoint_auth_methods_supported":          []string{"client_secret_basic"},
		"scopes_supported":                               []string{"openid", "email", "profile", "groups", "offline_access"},
		"code_challenge_methods_supported":               []string{"S256"},
		"authorization_response_iss_parameter_supported": true,
	}
	if p.describe != nil {
		p.describe(r, document)
	}
	if p.fault == OtherDiscovery {
		document["issuer"] = "https://attacker.example"
	}
	edit(p.metadata, document)
	writeJSON(w, http.StatusOK, document)
}

func (p *OIDCProvider) serveAuthorization(w http.ResponseWriter, r *http.Request) {
	q := r.Form
	if q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || !strings.Contains(" "+q.Get("scope")+" ", " openid ") {
		http.Error(w, "this fake wants the code flow with PKCE S256 and the scope openid", http.StatusBadRequest)
		return
	}
	extra := url.Values{"iss": {p.Issuer}}
	switch p.committed() {
	case WrongResponseIssuer:
		extra.Set("iss", "https://attacker.example")
	case NoResponseIssuer:
		extra.Del("iss")
	}
	p.beginVisit(w, r, extra)
}

func (p *OIDCProvider) serveToken(w http.ResponseWriter, r *http.Request) {
	id, secret := r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	if basicID, basicSecret, ok := r.BasicAuth(); ok { // form-encoded inside: RFC 6749, section 2.3.1
		id, _ = url.QueryUnescape(basicID)
		secret, _ = url.QueryUnescape(basicSecret)
	}
	if p.registeredKey() {
		if id, secret = p.asserted(r); id == "" {
			writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
			return
		}
	}
	if exchanged, code, ok := p.exchanged(r.PostForm, id, secret); ok {
		if code != "" {
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": code, "error_description": "upstream text\r\nthat must not travel"})
			return
		}
		writeJSON(w, http.StatusOK, exchanged)
		return
	}
	v, accessToken, code := p.redeem(r.PostForm, id, secret)
	if code != "" {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": code, "error_description": "upstream text\r\nthat must not travel"})
		return
	}
	answer := map[string]any{"access_token": accessToken, "token_type": "Bearer", "expires_in": p.expiresIn(300)}
	if refreshToken := p.newRefreshToken(v); refreshToken != "" {
		answer["refresh_token"] = refreshToken
	}
	if p.committed() != NoIDToken {
		answer["id_token"] = p.idToken(v, accessToken)
	}
	writeJSON(w, http.StatusOK, answer)
	p.answered(r.PostForm.Get("refresh_token"))
}

// Grants of an exchange, in the way of RFC 8693 and in Microsoft's.
const (
	tokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	onBehalfOf    = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// exchanged answers a token request that exchanges a person's access token for one
// of another audience; ok is false for every other. As Keycloak and Microsoft do, it
// gives no refresh token, and an access token that lives no longer than the first.
func (p *OIDCProvider) exchanged(form url.Values, id, secret string) (answer map[string]any, code string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	subject, target := form.Get("subject_token"), form.Get("audience")
	switch form.Get("grant_type") {
	case tokenExchange:
	case onBehalfOf:
		if form.Get("requested_token_use") != "on_behalf_of" {
			return nil, "invalid_request", true
		}
		subject, target = form.Get("assertion"), form.Get("scope")
	default:
		return nil, "", false
	}
	user, known := p.tokens[subject]
	switch {
	case p.refuseToken != "":
		return nil, p.refuseToken, true
	case id != ClientID || secret != ClientSecret:
		return nil, "invalid_client", true
	case !known:
		return nil, "invalid_grant", true
	case target == "" || strings.Contains(target, "unknown"):
		return nil, "invalid_target", true
	}
	token := p.newAccessToken(visit{user: user, scopes: "exchanged for " + target})
	life := 300
	if p.life > 0 {
		life = int(p.life / time.Second)
	}
	return map[string]any{
		"access_token": token, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "token_type": "Bearer", "expires_in": life,
	}, "", true
}

// idToken makes one, wrong in the way committed to.
func (p *OIDCProvider) idToken(v visit, accessToken string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	hash := sha256.Sum256([]byte(accessToken))
	claims := map[string]any{
		"iss": p.Issuer, "sub": v.user.Subject, "aud": ClientID, "nonce": v.nonce,
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"at_hash": base64.RawURLEncoding.EncodeToString(hash[:16]),
	}
	if v.nonce == "" {
		delete(claims, "nonce")
	}
	if !p.thin && p.fault != OtherUserInfo {
		maps.Copy(claims, person(v.user))
	}
	if p.shape != nil {
		p.shape(v.user, claims)
	}
	corrupt(p.fault, claims, now)
	edit(p.claims, claims)
	return p.sign(claims)
}

func corrupt(fault Fault, claims map[string]any, now time.Time) {
	switch fault {
	case WrongNonce:
		claims["nonce"] = "of another visit"
	case NoNonce:
		delete(claims, "nonce")
	case WrongIssuer:
		claims["iss"] = "https://attacker.example"
	case WrongAudience:
		claims["aud"] = "another-client"
	case SeveralAudiences:
		claims["aud"] = []string{ClientID, "another-client"}
	case WrongParty:
		claims["azp"] = "another-client"
	case Expired:
		claims["exp"] = now.Add(-time.Minute).Unix()
	case NoExpiry:
		delete(claims, "exp")
	case NoIssuedAt:
		delete(claims, "iat")
	case FutureIssuedAt:
		claims["iat"] = now.Add(time.Hour).Unix()
	case NotYetValid:
		claims["nbf"] = now.Add(time.Hour).Unix()
	case NoSubject:
		delete(claims, "sub")
	case WrongTokenHash:
		claims["at_hash"] = "AAAAAAAAAAAAAAAAAAAAAA"
	}
}

func (p *OIDCProvider) sign(claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic("oauthtest: " + err.Error())
	}
	signer, kid := jose.SigningKey{Algorithm: jose.RS256, Key: p.key}, p.kid
	switch p.fault {
	case AlgNone:
		b64 := base64.RawURLEncoding.EncodeToString
		return b64([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + b64(payload) + "."
	case HS256:
		// The classic confusion: the PEM of the public key is known to everybody.
		der, err := x509.MarshalPKIXPublicKey(p.key.Public())
		if err != nil {
			panic("oauthtest: " + err.Error())
		}
		signer = jose.SigningKey{Algorithm: jose.HS256, Key: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})}
	case WrongKey:
		signer.Key = p.otherKey
	case UnknownKey:
		signer.Key, kid = p.otherKey, "unpublished"
	}
	s, err := jose.NewSigner(signer, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", kid))
	if err != nil {
		panic("oauthtest: " + err.Error())
	}
	jws, err := s.Sign(payload)
	if err != nil {
		panic("oauthtest: " + err.Error())
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		panic("oauthtest: " + err.Error())
	}
	return token
}

func (p *OIDCProvider) serveKeys(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := jose.JSONWebKey{Key: p.key.Public(), KeyID: p.kid, Use: "sig", Algorithm: "RS256"}
	if p.addKey == nil {
		writeJSON(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key}})
		return
	}
	members := map[string]any{}
	if raw, err := key.MarshalJSON(); err != nil || json.Unmarshal(raw, &members) != nil {
		panic("oauthtest: a key that is no JSON")
	}
	p.addKey(members)
	writeJSON(w, http.StatusOK, map[string]any{"keys": []any{members}})
}

func (p *OIDCProvider) serveUserInfo(w http.ResponseWriter, r *http.Request) {
	user, ok := p.bearer(r)
	if !ok {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.userInfoStatus != 0 {
		w.WriteHeader(p.userInfoStatus)
		return
	}
	claims := person(user)
	if claims["sub"] = user.Subject; p.fault == OtherUserInfo {
		claims["sub"] = "somebody-else"
	}
	edit(p.userInfo, claims)
	writeJSON(w, http.StatusOK, claims)
}

// person are the claims about the user.
func person(u User) map[string]any {
	claims := map[string]any{"email_verified": u.EmailVerified, "name": u.Name}
	if u.Email != "" {
		claims["email"] = u.Email
	}
	if u.Groups != nil {
		claims["groups"] = u.Groups
	}
	if u.HostedDomain != "" {
		claims["hd"] = u.HostedDomain
	}
	return claims
}

func edit(by func(map[string]any), document map[string]any) {
	if by != nil {
		by(document)
	}
}
