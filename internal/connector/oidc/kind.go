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

// Settings are the keys of provider.name "oidc".
type Settings struct {
	upstream.KeyedApp
	upstream.ClaimNames
	upstream.AuthorizationParams
	// Issuer URL of the OpenID provider; https, or http on a loopback host. Its discovery document must name exactly this issuer. Required.
	IssuerURL string `json:"issuerURL"`
	// URL that this service uses instead of issuerURL for its own requests: discovery, key set, token and userinfo endpoint. For a provider whose public address cannot be reached from here, such as "http://keycloak.iam.svc.cluster.local:8080/realms/corp". Tokens and the discovery document must still name issuerURL, and browsers go to the authorization endpoint that the document names. May use http, for private networks only. Default: none, and the public address is used.
	BackchannelURL string `json:"backchannelURL"`
	// Authentication context classes, such as "phr" or "http://schemas.openid.net/pape/policies/2007/06/multi-factor". The provider is asked for them (acr_values), and the ID token of a sign-in must name one of them (acr). Default: none is required.
	ACRValues []string `json:"acrValues" max:"100"`
}

// Kind implements connector.Settings.
func (*Settings) Kind() string          { return "oidc" }
func (s *Settings) DisplayName() string { return upstream.HostOf(s.IssuerURL) }
func (s *Settings) Namespace() string   { return namespace(s.IssuerURL) }
func (*Settings) TellsGroups() bool     { return true }

// Issuer implements connector.Issuer.
func (s *Settings) Issuer() (url, subjectClaim string) { return s.IssuerURL, s.SubjectClaim }

// Summary implements connector.Settings.
func (s *Settings) Summary() (provider string, conditions []string) {
	return fmt.Sprintf("oidc, issuer %s, client %q", s.IssuerURL, s.ClientID), nil
}

// New implements connector.Settings.
func (s *Settings) New(unused connector.Properties, client *http.Client) (connector.Connector, connector.PasswordConnector, error) {
	o := OptionsOf(s.KeyedApp, client)
	o.Issuer, o.BackChannel, o.OfflineScope, o.Unused = s.IssuerURL, s.BackchannelURL, true, unused
	o.SubjectClaim, o.EmailClaim, o.EmailVerifiedClaim, o.NameClaim, o.GroupsClaim = s.SubjectClaim, s.EmailClaim, s.EmailVerifiedClaim, s.NameClaim, s.GroupsClaim
	o.ACRValues, o.ExtraAuthParams = s.ACRValues, s.Params
	if s.InsecureTrustUnverifiedEmail {
		o.TrustEmail = func(string, Claims) bool { return true }
	}
	return New(o), nil, nil
}

// Audience implements connector.Settings: an issuer counts as the operator's own,
// unless it is known to be open to everyone.
func (s *Settings) Audience() connector.Audience {
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
func (s *Settings) Resolve(c conf.Section, p *connector.Config) {
	s.ResolveKeyedApp(c, p.Name, true, defaultScopes...)
	s.MustAskOpenID(c, p.Name)
	s.ResolveClaims(c, p)
	s.ResolveParams(c, nil)
	s.issuer(c, p.Name)
	s.backChannel(c)
	for i, value := range s.ACRValues {
		if !conf.IsScopeToken(value) {
			c.Add(conf.Element(c.Key("acrValues"), i), "%s is not a class: printable ASCII without spaces", conf.Show(value))
		}
	}
	if s.InsecureTrustUnverifiedEmail && publicIssuerOf(s.IssuerURL) != nil {
		c.Add(c.Key("insecureTrustUnverifiedEmail"), "is refused for the issuer %s: people could enter any address there", conf.ShowURL(s.IssuerURL))
	}
}

// issuer refuses an issuer that is the address of something else.
func (s *Settings) issuer(c conf.Section, provider string) {
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
func (s *Settings) backChannel(c conf.Section) {
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
		c.Warn(at, "uses http: who can change what is sent on the way to %s can sign in as everyone; use https where that network is not yours alone", conf.Show(u.Host))
	}
}

// namespace is the issuer without its scheme.
func namespace(issuer string) string {
	_, rest, _ := strings.Cut(issuer, "://")
	return rest
}
