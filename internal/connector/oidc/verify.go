package oidc

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	jose "github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/claim"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

// maxClockSkew is how far in the future iat may lie.
const maxClockSkew = 5 * time.Minute

// verify checks the ID token (OpenID Connect Core, section 3.1.3.7). go-oidc
// checks the algorithm, iss, aud and exp, the rest is here.
func (c *Connector) verify(ctx context.Context, p *provider, login connector.Login, token *oauth2.Token) (string, Claims, error) {
	raw := rawIDToken(token)
	if raw == "" {
		return "", nil, errors.New("missing from the token response")
	}
	idToken, claims, err := c.verifyIDToken(ctx, p, raw, token)
	if err != nil {
		return "", nil, err
	}
	if subtle.ConstantTimeCompare([]byte(idToken.Nonce), []byte(login.Nonce)) != 1 {
		return "", nil, errors.New("nonce is not that of this visit")
	}
	if err := c.checkContext(claims); err != nil {
		return "", nil, err
	}
	subject, err := c.subject(idToken, claims)
	return subject, claims, err
}

// checkContext: what was asked for in acr_values is voluntary for the provider,
// so the answer decides (OpenID Connect Core, sections 2 and 3.1.2.1).
func (c *Connector) checkContext(claims Claims) error {
	acr := claims.String("acr")
	if len(c.options.ACRValues) > 0 && !slices.Contains(c.options.ACRValues, acr) {
		return upstream.NotAllowed("signed in with acr " + strconv.Quote(upstream.Clip(acr)))
	}
	return nil
}

func (c *Connector) subject(idToken *gooidc.IDToken, claims Claims) (string, error) {
	if c.options.Subject != nil {
		return c.options.Subject(claims)
	}
	if c.options.SubjectClaim == "sub" {
		return idToken.Subject, nil
	}
	subject := claim.Subject(claims.Identifier(c.options.SubjectClaim))
	if subject == "" {
		return "", upstream.Rejected("ID token without a usable claim "+strconv.Quote(upstream.Clip(c.options.SubjectClaim)), nil)
	}
	return subject, nil
}

func rawIDToken(token *oauth2.Token) string {
	raw, _ := token.Extra("id_token").(string)
	return raw
}

// verifyIDToken makes every check but that of the nonce.
func (c *Connector) verifyIDToken(ctx context.Context, p *provider, raw string, token *oauth2.Token) (*gooidc.IDToken, Claims, error) {
	signature := &oneToken{keys: p.keys, algorithms: p.Algorithms}
	verifier := gooidc.NewVerifier(c.options.Issuer, signature, &gooidc.Config{
		ClientID:             c.options.ClientID,
		SupportedSigningAlgs: p.Algorithms,
		Now:                  c.options.Now,
		SkipIssuerCheck:      c.manyTenants(), // checkIssuer does it
	})
	idToken, err := verifier.Verify(ctx, raw)
	if signature.err != nil {
		return nil, nil, signature.err
	}
	if err != nil {
		return nil, nil, c.aboutClocks(err)
	}
	var claims Claims
	if err := idToken.Claims(&claims); err != nil {
		return nil, nil, err
	}
	if err := c.checkIssuer(idToken, claims, signature.issuer); err != nil {
		return nil, nil, err
	}
	if err := c.checkAuthorizedParty(idToken, claims); err != nil {
		return nil, nil, err
	}
	if err := c.checkIssuedAt(idToken, claims); err != nil {
		return nil, nil, err
	}
	if idToken.AccessTokenHash != "" {
		if err := idToken.VerifyAccessToken(token.AccessToken); err != nil {
			return nil, nil, err
		}
	}
	return idToken, claims, nil
}

func (c *Connector) checkAuthorizedParty(idToken *gooidc.IDToken, claims Claims) error {
	if _, present := claims["azp"]; !present && len(idToken.Audience) == 1 {
		return nil
	}
	if claims.String("azp") != c.options.ClientID {
		return errors.New("azp is not this client")
	}
	return nil
}

func (c *Connector) checkIssuedAt(idToken *gooidc.IDToken, claims Claims) error {
	if _, present := claims["iat"]; !present {
		return errors.New("iat is missing")
	}
	if ahead := idToken.IssuedAt.Sub(c.options.Now()); ahead > maxClockSkew {
		return fmt.Errorf("iat lies %s in the future; %s", ahead.Round(time.Second), clocksDiffer)
	}
	return nil
}

const clocksDiffer = "the clock of the provider or of this machine is wrong: set both by NTP"

// aboutClocks says of an ID token that is new and has expired what that means.
func (c *Connector) aboutClocks(err error) error {
	expired, ok := errors.AsType[*gooidc.TokenExpiredError](err)
	switch {
	case !ok && strings.Contains(err.Error(), "before the nbf"):
		return fmt.Errorf("%w; %s", err, clocksDiffer)
	case !ok:
		return err
	case expired.Expiry.Unix() <= 0:
		return errors.New("exp is missing")
	}
	return fmt.Errorf("it expired %s ago, although it is new; %s", c.options.Now().Sub(expired.Expiry).Round(time.Second), clocksDiffer)
}

// oneToken is the key set as go-oidc wants it, for one token. It keeps the
// error, whose type go-oidc drops: an unreachable key set is not a bad signature.
type oneToken struct {
	keys       *keySet
	algorithms []string
	issuer     string // of the key
	err        error
}

func (o *oneToken) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	algs := make([]jose.SignatureAlgorithm, 0, len(o.algorithms))
	for _, alg := range o.algorithms {
		algs = append(algs, jose.SignatureAlgorithm(alg))
	}
	var payload []byte
	payload, o.issuer, o.err = o.keys.verify(ctx, token, algs)
	return payload, o.err
}
