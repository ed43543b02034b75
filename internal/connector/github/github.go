// Package github signs people in with GitHub or a GitHub Enterprise Server, which speak
// OAuth 2.0 without OpenID Connect. Its invariants: the numeric account id is the
// subject (a login name can pass to another person), the e-mail address is the primary
// one, only if GitHub has verified it, and required memberships in organizations are
// checked at each sign-in and each re-check.
package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/oauth2"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/claim"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

const (
	defaultBaseURL = "https://github.com"
	apiVersion     = "2022-11-28"
	perPage        = 100
	maxEmailPages  = 5
)

// Connector implements connector.Connector.
type Connector struct {
	oauth     oauth2.Config // without the secret, so that it cannot be printed
	secret    conf.Secret
	issuer    string
	api       string
	namespace string
	client    *upstream.Client

	askGroups     bool
	organizations []string // any of which admits; empty admits everyone
	groupsFilter  []string
}

// New returns a connector. A nil client means the default transport; see
// upstream.NewClient.
func New(s *Settings, client *http.Client) *Connector {
	base, scopes := s.base(), s.Scopes
	if len(scopes) == 0 {
		scopes = defaultScopes
	}
	api, namespace := locate(base)
	return &Connector{
		oauth: oauth2.Config{
			ClientID: s.ClientID,
			Scopes:   scopes,
			Endpoint: oauth2.Endpoint{
				AuthURL:   base + "/login/oauth/authorize",
				TokenURL:  base + "/login/oauth/access_token",
				AuthStyle: oauth2.AuthStyleInParams,
			},
		},
		secret:    s.ClientSecret,
		issuer:    base + "/login/oauth",
		api:       api,
		namespace: namespace,
		client:    upstream.NewClient(client),

		askGroups:     len(s.AllowedOrganizations) > 0 || slices.Contains(scopes, organizationsScope),
		organizations: s.AllowedOrganizations,
		groupsFilter:  s.GroupsFilter,
	}
}

// locate returns the API's address and the namespace: GitHub's own, that of
// GitHub Enterprise Cloud with data residency (api.NAME.ghe.com), or that of a
// GitHub Enterprise Server (/api/v3).
func locate(base string) (api, namespace string) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" {
		return base + "/api/v3", "github@" + base
	}
	host := strings.ToLower(u.Host)
	switch {
	case host == "github.com":
		return "https://api.github.com", "github"
	case strings.HasSuffix(host, ".ghe.com"):
		return "https://api." + host, "github@" + host
	}
	return base + "/api/v3", "github@" + host
}

// AuthorizationURL implements connector.Connector. It does not use the network.
func (c *Connector) AuthorizationURL(_ context.Context, login connector.Login) (string, error) {
	if err := upstream.CheckLogin(login); err != nil {
		return "", err
	}
	options := []oauth2.AuthCodeOption{
		oauth2.SetAuthURLParam("redirect_uri", login.RedirectURI),
		oauth2.S256ChallengeOption(login.Verifier),
	}
	// The one value GitHub knows; a forced login does not exist there.
	if login.Prompt != "" {
		options = append(options, oauth2.SetAuthURLParam("prompt", "select_account"))
	}
	config := c.oauth
	config.Scopes = upstream.Scopes(config.Scopes, login)
	return config.AuthCodeURL(login.State, append(options, upstream.Params(nil, login)...)...), nil
}

// Identify implements connector.Connector.
func (c *Connector) Identify(ctx context.Context, login connector.Login, query url.Values) (connector.Identity, connector.Session, error) {
	if err := upstream.CheckLogin(login); err != nil {
		return connector.Identity{}, connector.Session{}, err
	}
	ctx, cancel := c.client.Context(ctx)
	defer cancel()
	// RFC 9207, section 2.4: GitHub does not promise iss, but a wrong one means another server's answer.
	if query.Has("iss") && query.Get("iss") != c.issuer {
		return connector.Identity{}, connector.Session{}, upstream.Rejected("authorization response names another issuer", nil)
	}
	code, err := upstream.AuthorizationCode(query)
	if err != nil {
		return connector.Identity{}, connector.Session{}, err
	}
	token, err := c.withSecret().Exchange(ctx, code,
		oauth2.SetAuthURLParam("redirect_uri", login.RedirectURI), oauth2.VerifierOption(login.Verifier))
	if err != nil {
		return connector.Identity{}, connector.Session{}, upstream.Failed("token request", err)
	}
	id, err := c.identity(ctx, token.AccessToken)
	if err != nil {
		return connector.Identity{}, connector.Session{}, upstream.Failed("account", err)
	}
	return id, upstream.Session(token, login.Want), nil
}

func (c *Connector) withSecret() *oauth2.Config {
	config := c.oauth
	config.ClientSecret = c.secret.Reveal()
	return &config
}

func (c *Connector) identity(ctx context.Context, accessToken string) (connector.Identity, error) {
	var user struct {
		ID    int64  `json:"id"`
		Login string `json:"login"`
		Name  string `json:"name"`
	}
	if _, err := c.get(ctx, "/user", accessToken, &user); err != nil {
		return connector.Identity{}, fmt.Errorf("user request: %w", err)
	}
	if user.ID <= 0 {
		return connector.Identity{}, upstream.Rejected("user without a numeric id", nil)
	}
	groups, err := c.groups(ctx, accessToken)
	if err != nil {
		return connector.Identity{}, err
	}
	email, err := c.verifiedEmail(ctx, accessToken)
	if err != nil {
		return connector.Identity{}, fmt.Errorf("e-mail request: %w", err)
	}
	name := user.Name
	if name == "" {
		name = user.Login
	}
	return connector.Identity{
		Namespace: c.namespace,
		Subject:   strconv.FormatInt(user.ID, 10),
		Email:     email,
		Name:      claim.Name(name),
		Groups:    groups,
	}, nil
}

// verifiedEmail returns the primary address if it is verified. Without access to the
// addresses there is none, and the sign-in rules decide what that means.
func (c *Connector) verifiedEmail(ctx context.Context, accessToken string) (string, error) {
	for page := 1; page <= maxEmailPages; page++ {
		var addresses []struct {
			Email    string `json:"email"`
			Primary  bool   `json:"primary"`
			Verified bool   `json:"verified"`
		}
		path := "/user/emails?per_page=" + strconv.Itoa(perPage) + "&page=" + strconv.Itoa(page)
		header, err := c.get(ctx, path, accessToken, &addresses)
		if status, ok := errors.AsType[*upstream.StatusError](err); ok && (status.Code == http.StatusForbidden || status.Code == http.StatusNotFound) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		for _, a := range addresses {
			if a.Primary && a.Verified {
				return claim.Email(a.Email), nil
			}
			if a.Primary {
				return "", nil
			}
		}
		if !hasNext(header) {
			break
		}
	}
	return "", nil
}

// hasNext only reports whether there is a next page; this package makes its address.
func hasNext(header http.Header) bool { return strings.Contains(header.Get("Link"), `rel="next"`) }

func (c *Connector) get(ctx context.Context, path, accessToken string, out any) (http.Header, error) {
	header, err := c.client.Get(ctx, c.api+path, http.Header{
		"Accept":               {"application/vnd.github+json"},
		"Authorization":        {"Bearer " + accessToken},
		"X-Github-Api-Version": {apiVersion},
	}, out)
	// GitHub answers 403 when a rate limit is used up: that passes, a refusal does not.
	if status, ok := errors.AsType[*upstream.StatusError](err); ok && status.Code == http.StatusForbidden {
		if header.Get("X-RateLimit-Remaining") == "0" || header.Get("Retry-After") != "" {
			return header, upstream.Unavailable("rate limit", nil)
		}
	}
	return header, err
}

// Recheck implements connector.Rechecker: it reads the account again. A token
// that no longer works was taken back, by the person, an administrator or GitHub.
func (c *Connector) Recheck(ctx context.Context, id connector.Identity, s connector.Session) (connector.Identity, connector.Session, error) {
	return c.client.AskAgain(ctx, c.withSecret(), id, s, c.identity)
}
