package oauthtest

import (
	"crypto"
	"net/http"
	"slices"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// clientKey is what the provider knows of the client that proves itself by a key.
type clientKey struct {
	public    crypto.PublicKey
	algorithm jose.SignatureAlgorithm
	kid       string
	audience  string
	used      map[string]bool // jti
}

// RegisterKey makes the provider take private_key_jwt and nothing else.
func (p *OIDCProvider) RegisterKey(public crypto.PublicKey, algorithm, kid, audience string) {
	p.set(func() {
		p.client = clientKey{public, jose.SignatureAlgorithm(algorithm), kid, audience, map[string]bool{}}
	})
}

func (p *OIDCProvider) registeredKey() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.client.public != nil
}

// asserted returns the credentials that a good assertion stands for: RFC 7523,
// section 3, and OpenID Connect Core, section 9.
func (p *OIDCProvider) asserted(r *http.Request) (id, secret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, form := p.client, r.PostForm
	_, _, basic := r.BasicAuth()
	if basic || form.Has("client_secret") || form.Get("client_id") != ClientID ||
		form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		return "", ""
	}
	token, err := jwt.ParseSigned(form.Get("client_assertion"), []jose.SignatureAlgorithm{c.algorithm})
	if err != nil || token.Headers[0].KeyID != c.kid {
		return "", ""
	}
	var claims jwt.Claims
	now := time.Now()
	if token.Claims(c.public, &claims) != nil || claims.Issuer != ClientID || claims.Subject != ClientID ||
		!slices.Equal(claims.Audience, jwt.Audience{c.audience}) || claims.ID == "" || c.used[claims.ID] ||
		claims.Expiry == nil || claims.Expiry.Time().Before(now) || claims.Expiry.Time().After(now.Add(5*time.Minute)) {
		return "", ""
	}
	c.used[claims.ID] = true
	return ClientID, ClientSecret
}
