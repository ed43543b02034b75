package upstream

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"golang.org/x/oauth2"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
)

// Session keeps a token for the re-check at a refresh, and as what an MCP server
// wants. One without expiry, as GitHub gives OAuth apps, lives until it is taken back.
func Session(token *oauth2.Token, want connector.Wanted) connector.Session {
	s := connector.Session{AccessToken: token.AccessToken, RefreshToken: token.RefreshToken, Want: want, Life: Life(token)}
	if !token.Expiry.IsZero() {
		s.Expires = token.Expiry.Unix()
	}
	return s
}

// Life is what the provider says of how long a token lives, in seconds; 0 for
// nothing, and for a token that was not received just now.
func Life(token *oauth2.Token) int64 {
	var seconds int64
	switch v := token.Extra("expires_in").(type) { // some providers send text
	case float64:
		seconds = int64(min(v, 1<<31))
	case int64:
		seconds = v
	case string:
		seconds, _ = strconv.ParseInt(v, 10, 64)
	}
	return max(seconds, 0)
}

// Params are the further parameters of an authorization request: those of the
// configuration, and in their place those of the visit.
func Params(configured map[string]string, login connector.Login) []oauth2.AuthCodeOption {
	all := maps.Clone(configured)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, login.Params)
	var options []oauth2.AuthCodeOption
	for name, value := range all {
		if !slices.Contains(connector.ProtocolParams, name) {
			options = append(options, oauth2.SetAuthURLParam(name, value))
		}
	}
	return options
}

// Scopes are those of the configuration and of the visit.
func Scopes(configured []string, login connector.Login) []string {
	all := slices.Clone(configured)
	for _, scope := range login.Scopes {
		if !slices.Contains(all, scope) {
			all = append(all, scope)
		}
	}
	return all
}

// RecheckSession is what Rechecker returns after err: where the provider could
// not tell, that is with the session that s was exchanged for, if it was.
func RecheckSession(what string, err error, s, exchanged connector.Session) (connector.Identity, connector.Session, error) {
	err = RecheckFailed(what, err)
	if exchanged == s || !errors.Is(err, connector.ErrUnavailable) && !errors.Is(err, connector.ErrMisconfigured) {
		exchanged = connector.Session{}
	}
	return connector.Identity{}, exchanged, err
}

// Token is the way back from Session.
func Token(s connector.Session) *oauth2.Token {
	token := &oauth2.Token{AccessToken: s.AccessToken, RefreshToken: s.RefreshToken}
	if s.Expires != 0 {
		token.Expiry = time.Unix(s.Expires, 0)
	}
	return token
}

// AskAgain is the re-check at a provider without ID tokens: ask says whose an access
// token is, and gets the token of s for as long as it lives, then a refreshed one.
// Where an MCP server wants the token it is refreshed each time, so that what the
// server gets has its whole life before it.
func (c *Client) AskAgain(ctx context.Context, config *oauth2.Config, id connector.Identity, s connector.Session, ask func(ctx context.Context, accessToken string) (connector.Identity, error)) (connector.Identity, connector.Session, error) {
	ctx, cancel := c.Context(ctx)
	defer cancel()
	exchanged := s
	fail := func(err error) (connector.Identity, connector.Session, error) {
		return RecheckSession("re-check", err, s, exchanged)
	}
	token := Token(s)
	switch {
	case s.IsZero():
		return fail(SessionOver("there is no token to ask with", nil))
	case !token.Valid() && s.RefreshToken == "":
		return fail(SessionOver("the access token has expired", nil))
	}
	if s.Want != connector.WantNone && s.RefreshToken != "" {
		token.AccessToken = ""
	}
	token, err := config.TokenSource(ctx, token).Token() // refreshes one that is missing or has expired only
	if err != nil {
		return fail(err)
	}
	exchanged = Session(token, s.Want)
	connector.Exchanged(ctx, s, exchanged)
	now, err := ask(ctx, token.AccessToken)
	if err != nil {
		return fail(err)
	}
	if now.Subject != id.Subject {
		return fail(Gone("the token belongs to another account", nil))
	}
	return now, exchanged, nil
}
