package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/clientauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

const accessTokenType = "urn:ietf:params:oauth:token-type:access_token"

// Exchange implements connector.Exchanger: by token exchange (RFC 8693), or by the
// grant of RFC 7523 with Microsoft's requested_token_use.
// https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-on-behalf-of-flow
func (c *Connector) Exchange(ctx context.Context, accessToken string, x connector.Exchange) (string, time.Duration, error) {
	ctx, cancel := c.client.Context(ctx)
	defer cancel()
	p, err := c.provider(ctx)
	if err != nil {
		return "", 0, upstream.Failed("discovery", err)
	}
	token, err := c.authenticated(ctx, p, exchangeForm(accessToken, x))
	if err != nil {
		return "", 0, exchangeFailed(err)
	}
	// RFC 8693, section 2.2.1: another type of token is no bearer token for an API.
	if issued, ok := token.Extra("issued_token_type").(string); ok && issued != accessTokenType && issued != "urn:ietf:params:oauth:token-type:jwt" {
		return "", 0, upstream.Misconfigured("token exchange: the provider gives a token of another type than an access token", nil)
	}
	life := time.Duration(0)
	if !token.Expiry.IsZero() {
		life = time.Until(token.Expiry)
	}
	return token.AccessToken, life, nil
}

func exchangeForm(accessToken string, x connector.Exchange) url.Values {
	form := url.Values{}
	if x.OnBehalfOf {
		form.Set("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
		form.Set("assertion", accessToken)
		form.Set("requested_token_use", "on_behalf_of")
	} else {
		form.Set("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
		form.Set("subject_token", accessToken)
		form.Set("subject_token_type", accessTokenType)
		form.Set("requested_token_type", accessTokenType)
	}
	if x.Audience != "" {
		form.Set("audience", x.Audience)
	}
	if len(x.Scopes) > 0 {
		form.Set("scope", strings.Join(x.Scopes, " "))
	}
	return form
}

// exchangeFailed: a provider that answers with an error of OAuth will say so again.
// What it refuses is this service or its configuration, unless it is the person's
// token, which was good a moment ago.
func exchangeFailed(err error) error {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case ok && (refused.ErrorCode == "invalid_grant" || refused.ErrorCode == "interaction_required"):
		return upstream.SessionOver("token exchange", err)
	case ok && refused.ErrorCode != "" && refused.ErrorCode != "temporarily_unavailable" && refused.ErrorCode != "server_error":
		return upstream.Misconfigured("token exchange: the provider refuses it; check providerToken.exchange, and that the provider lets this client exchange tokens", err)
	}
	return upstream.Failed("token exchange", err)
}

// authenticated makes a token request in this client's name.
func (c *Connector) authenticated(ctx context.Context, p *provider, form url.Values) (*oauth2.Token, error) {
	if !c.options.ClientKey.IsZero() {
		return c.asserted(ctx, p, form)
	}
	proof, header := clientauth.Credentials{ClientID: c.options.ClientID, Secret: c.options.ClientSecret, Method: clientauth.Post}, http.Header{}
	if c.authStyle(p) == oauth2.AuthStyleInHeader {
		proof.Method = clientauth.Basic
	}
	if err := proof.Prove(form, header, "", c.options.Now()); err != nil {
		return nil, err
	}
	return c.client.TokenWith(ctx, p.TokenEndpoint, form, header)
}
