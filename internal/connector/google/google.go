// Package google signs people in with Google. Its invariant: an e-mail address counts
// only while Google is the authority for it, so a company's address, once verified for
// a private account, does not count after the job has ended. If configured, the
// Workspace's directory is checked at each sign-in and each refresh; environment
// variables cannot change that.
package google

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/oidc"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

// Issuer is Google's; Namespace is that of every identity of this connector.
const (
	Issuer    = "https://accounts.google.com"
	Namespace = "google"
)

// Connector implements connector.Connector.
type Connector struct{ *oidc.Connector }

// New returns a connector. A nil client means the default transport; see
// upstream.NewClient.
func New(s *Settings, unused connector.Properties, client *http.Client) Connector {
	// Google gives a refresh token for access_type=offline only, and again
	// only if the person is asked again.
	// https://developers.google.com/identity/protocols/oauth2/web-server#offline
	params := map[string]string{"access_type": "offline"}
	var admit func(oidc.Claims) error
	if len(s.HostedDomains) > 0 {
		// hd in the request is only a hint for the account chooser.
		// https://developers.google.com/identity/openid-connect/openid-connect#hd-param
		if params["hd"] = "*"; len(s.HostedDomains) == 1 {
			params["hd"] = s.HostedDomains[0]
		}
		admit = func(claims oidc.Claims) error {
			if !slices.Contains(s.HostedDomains, strings.ToLower(claims.String("hd"))) {
				return upstream.NotAllowed("hosted domain " + strconv.Quote(upstream.Clip(claims.String("hd"))) + " is not admitted")
			}
			return nil
		}
	}
	o := oidc.OptionsOf(upstream.KeyedApp{App: s.App}, client)
	o.Issuer, o.Namespace, o.ExtraAuthParams, o.TrustEmail, o.Admit, o.Unused = Issuer, Namespace, params, authoritative, admit, unused
	if s.Workspace.Credentials != "" {
		d := newDirectory(s.Workspace, upstream.NewClient(client), time.Now)
		o.Groups = func(ctx context.Context, _ *upstream.Client, about oidc.Person, _ string) ([]string, string, error) {
			groups, err := d.check(ctx, about.Subject)
			return groups, "", err
		}
	}
	return Connector{oidc.New(o)}
}

// AuthorizationURL implements connector.Connector. Google does not know
// prompt=login; the account chooser is the nearest it has.
func (c Connector) AuthorizationURL(ctx context.Context, login connector.Login) (string, error) {
	switch login.Prompt {
	case "":
		login.Prompt = "consent"
	case "login", "select_account":
		login.Prompt = "select_account consent"
	}
	return c.Connector.AuthorizationURL(ctx, login)
}

// authoritative is Google's own rule: it hosts the address if it ends in
// gmail.com or if hd says that the account is managed by an organization. For
// any other address the claim email_verified was true once, and stays.
// https://developers.google.com/identity/gsi/web/guides/verify-google-id-token
func authoritative(email string, claims oidc.Claims) bool {
	return oidc.Verified(email, claims) && (strings.HasSuffix(strings.ToLower(email), "@gmail.com") || claims.String("hd") != "")
}
