package oidc

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/upstream"
)

var defaultScopes = []string{"openid", "email", "profile"}

// Kind implements connector.Kind.
type Kind struct{}

func (Kind) Name() string                          { return "oidc" }
func (Kind) Settings() connector.Settings          { return new(settings) }
func (Kind) DisplayName(p connector.Config) string { return upstream.HostOf(p.IssuerURL) }
func (Kind) Namespace(p connector.Config) string   { return namespace(p.IssuerURL) }
func (Kind) TellsGroups(connector.Config) bool     { return true }

// Summary implements connector.Kind.
func (Kind) Summary(p connector.Config) (provider string, conditions []string) {
	return fmt.Sprintf("oidc, issuer %s, client %q", p.IssuerURL, p.ClientID), nil
}

// New implements connector.Kind.
func (Kind) New(p connector.Config, client *http.Client) (connector.Connector, connector.PasswordConnector, error) {
	return FromConfig(p, client), nil, nil
}

// settings are the keys of provider.name "oidc".
type settings struct {
	upstream.KeyedApp
	upstream.ClaimNames
	upstream.AuthorizationParams
	IssuerURL      string   `json:"issuerURL"`
	BackchannelURL string   `json:"backchannelURL"`
	ACRValues      []string `json:"acrValues"`
}

// Audience implements connector.Settings: an issuer is taken for the operator's
// own, unless it is known to be open to everyone.
func (s *settings) Audience() connector.Audience {
	public := publicIssuerOf(s.IssuerURL)
	if public == nil {
		return connector.Audience{Chosen: true}
	}
	a := connector.Audience{Of: "the issuer " + conf.ShowURL(s.IssuerURL), Where: connector.OpenToAll, Instead: public.instead}
	if !public.foreignAddresses {
		a.Keys = []string{"allowedEmailDomains"}
	}
	return a
}

// Resolve implements connector.Settings.
func (s *settings) Resolve(c conf.Section, p *connector.Config) {
	s.ResolveKeyedApp(c, p, true, defaultScopes...)
	s.MustAskOpenID(c, p)
	s.ResolveClaims(c, p)
	s.ResolveParams(c, p, nil)
	s.issuer(c, p.Name)
	s.backChannel(c)
	if at := c.Key("acrValues"); !c.TooMany(at, len(s.ACRValues), conf.MaxScopes) {
		for i, value := range s.ACRValues {
			if !conf.IsScopeToken(value) {
				c.Add(conf.Element(at, i), "%s is not a class: printable ASCII without spaces", conf.Show(value))
			}
		}
	}
	if s.InsecureTrustUnverifiedEmail && publicIssuerOf(s.IssuerURL) != nil {
		c.Add(c.Key("insecureTrustUnverifiedEmail"), "is refused for the issuer %s: anybody could come with any address", conf.ShowURL(s.IssuerURL))
	}
	p.IssuerURL, p.BackChannelURL, p.ACRValues = s.IssuerURL, s.BackchannelURL, s.ACRValues
}

// issuer refuses an issuer that is the address of something else.
func (s *settings) issuer(c conf.Section, provider string) {
	at, value := c.Key("issuerURL"), s.IssuerURL
	if value == "" {
		c.Add(at, "is required for %q", provider)
		return
	}
	u := c.SecureURL(at, value)
	if u == nil {
		return
	}
	for _, document := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		if issuer, found := strings.CutSuffix(strings.TrimSuffix(value, "/"), document); found {
			c.Add(at, "is the address of the discovery document; the issuer is %s, or with a slash at the end: as the document has it in \"issuer\"", conf.ShowURL(issuer))
			return
		}
	}
	if strings.Contains(u.Path, "/.well-known/") {
		c.Add(at, "%s is the address of a document; the issuer is what that document has in \"issuer\"", conf.ShowURL(value))
	}
	if strings.ContainsAny(value, "{}") {
		c.Add(at, "%s holds a brace; write the issuer of one directory, or use name \"microsoft\" for several", conf.ShowURL(value))
	}
}

// backChannel may use http: it is the operator's own way to the provider, for
// instance inside a cluster.
func (s *settings) backChannel(c conf.Section) {
	at := c.Key("backchannelURL")
	if s.BackchannelURL == "" {
		return
	}
	u, problem := conf.AbsoluteURL(s.BackchannelURL)
	switch {
	case problem != "":
		c.Add(at, "%s %s", conf.ShowURL(s.BackchannelURL), problem)
	case u.RawQuery != "" || u.ForceQuery:
		c.Add(at, "%s must not have a query", conf.ShowURL(s.BackchannelURL))
	case strings.Contains(u.Path, "/.well-known/"):
		c.Add(at, "%s is the address of a document; write what stands before /.well-known", conf.ShowURL(s.BackchannelURL))
	case u.Scheme == "http" && !conf.IsLoopback(u.Hostname()):
		c.Warn(at, "uses http: who can change what is sent on the way to %s can sign in as everybody; use https where that network is not yours alone", conf.Show(u.Host))
	}
}

// namespace is the issuer without its scheme.
func namespace(issuer string) string {
	_, rest, _ := strings.Cut(issuer, "://")
	return rest
}
