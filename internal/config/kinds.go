package config

import (
	"net/url"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// kind is what the configuration has to know of one kind of identity provider. A
// kind that does not say who may sign in does not compile.
type kind interface {
	// scopes are asked for where provider.scopes names none.
	scopes() []string
	// audience says which keys narrow who may sign in.
	audience(f ProviderFile) audience
	// displayName is what pages call the provider where the operator gives no name.
	displayName(p connector.Config) string
	// tellsGroups reports whether people of the provider can have groups here.
	tellsGroups(p connector.Config) bool
}

// audience is who has an account at a provider. The zero value is everybody, and
// nothing narrows it: then only allowAnyUser says that this is meant.
type audience struct {
	// chosen: the accounts are those of one company, or of the configuration.
	chosen bool
	// keys narrow who may sign in; any of them is enough.
	keys []string
	// of names the provider in a message, and where says why keys are needed.
	of, where string
	// instead is what is better than any of the keys, "" for nothing.
	instead string
}

// kinds are the kinds of provider by provider.name.
var kinds = []struct {
	name string
	kind kind
}{
	{"google", googleKind{}},
	{"github", githubKind{}},
	{"microsoft", microsoftKind{}},
	{"oidc", oidcKind{}},
	{"oauth2", oauth2Kind{}},
	{"static", staticKind{}},
}

// ProviderNames lists the kinds of provider, in the order of the reference.
func ProviderNames() []string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// kindOf returns the kind with this name, nil if there is none.
func kindOf(name string) kind {
	for _, k := range kinds {
		if k.name == name {
			return k.kind
		}
	}
	return nil
}

const openToAll = ", where anybody can have an account"

type googleKind struct{}

func (googleKind) scopes() []string                    { return []string{"openid", "email", "profile"} }
func (googleKind) displayName(connector.Config) string { return "Google" }
func (googleKind) tellsGroups(p connector.Config) bool { return p.Workspace.Groups }
func (googleKind) audience(ProviderFile) audience {
	return audience{keys: []string{"allowedEmailDomains", "hostedDomains"}, of: `"google"`, where: openToAll}
}

type githubKind struct{}

func (githubKind) scopes() []string                    { return []string{"read:user", "user:email"} }
func (githubKind) displayName(connector.Config) string { return "GitHub" }
func (githubKind) tellsGroups(p connector.Config) bool {
	return slices.Contains(p.Scopes, connector.OrganizationsScope)
}
func (githubKind) audience(ProviderFile) audience {
	return audience{keys: []string{"allowedEmailDomains", "allowedOrganizations"}, of: `"github"`, where: openToAll}
}

type microsoftKind struct{}

func (microsoftKind) scopes() []string                    { return []string{"openid", "email", "profile", "User.Read"} }
func (microsoftKind) displayName(connector.Config) string { return "Microsoft" }
func (microsoftKind) tellsGroups(connector.Config) bool   { return true }
func (microsoftKind) audience(ProviderFile) audience {
	// An address alone says little there, whatever it is verified by.
	return audience{keys: []string{"tenants"}, of: `"microsoft"`, where: openToAll}
}

type oidcKind struct{}

func (oidcKind) scopes() []string                      { return []string{"openid", "email", "profile"} }
func (oidcKind) displayName(p connector.Config) string { return hostOf(p.IssuerURL) }
func (oidcKind) tellsGroups(connector.Config) bool     { return true }
func (oidcKind) audience(f ProviderFile) audience {
	public := publicIssuerOf(f.IssuerURL)
	if public == nil {
		return audience{chosen: true}
	}
	a := audience{of: "the issuer " + conf.ShowURL(f.IssuerURL), where: openToAll, instead: public.instead}
	if !public.foreignAddresses {
		a.keys = []string{"allowedEmailDomains"}
	}
	return a
}

type oauth2Kind struct{}

func (oauth2Kind) scopes() []string                      { return nil }
func (oauth2Kind) displayName(p connector.Config) string { return hostOf(p.AuthorizeURL) }
func (oauth2Kind) tellsGroups(connector.Config) bool     { return true }
func (oauth2Kind) audience(ProviderFile) audience {
	// The provider may be one company's or everybody's.
	return audience{keys: []string{"allowedEmailDomains"}, of: `"oauth2"`}
}

type staticKind struct{}

func (staticKind) scopes() []string                    { return nil }
func (staticKind) displayName(connector.Config) string { return "" } // our own login page needs none
func (staticKind) audience(ProviderFile) audience      { return audience{chosen: true} }
func (staticKind) tellsGroups(p connector.Config) bool {
	return p.UsersFile != "" || slices.ContainsFunc(p.Users, func(u connector.User) bool { return len(u.Groups) > 0 })
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// publicIssuer is an OpenID issuer where everybody can have an account, so that
// an ID token of it says nothing about belonging to the operator.
type publicIssuer struct {
	host  string   // "*.example.com" for the names below it
	paths []string // the issuer's path begins with one of them; none is every path
	// instead is the better way to use this provider, "" for none.
	instead string
	// foreignAddresses: administrators of other directories write any address into
	// it, so that a rule about addresses narrows nothing.
	foreignAddresses bool
}

// microsoftAuthorities are those of more than one directory, and that of the
// personal accounts.
var microsoftAuthorities = []string{"common", "organizations", "consumers", "{tenantid}", "9188040d-6c67-4c5b-b112-36a304b66dad"}

const useMicrosoft = `name "microsoft" with tenants is the way to admit some directories`

// publicIssuers are those that are known. The list cannot be whole: an issuer that
// is not in it is taken for the operator's own, as the issuer of one company is.
var publicIssuers = []publicIssuer{
	{host: "accounts.google.com", instead: `name "google" with hostedDomains is the better way, which knows an organization's accounts from private ones with its address`},
	{host: "securetoken.google.com"},
	{host: "login.microsoftonline.com", paths: microsoftAuthorities, instead: useMicrosoft, foreignAddresses: true},
	{host: "login.microsoftonline.us", paths: microsoftAuthorities, instead: useMicrosoft, foreignAddresses: true},
	{host: "login.partner.microsoftonline.cn", paths: microsoftAuthorities, instead: useMicrosoft, foreignAddresses: true},
	{host: "login.windows.net", paths: microsoftAuthorities, instead: useMicrosoft, foreignAddresses: true},
	{host: "sts.windows.net", paths: microsoftAuthorities, instead: useMicrosoft, foreignAddresses: true},
	{host: "login.live.com", instead: useMicrosoft, foreignAddresses: true},
	{host: "github.com", instead: `name "github" with allowedOrganizations is the better way`},
	{host: "appleid.apple.com"}, {host: "account.apple.com"},
	{host: "gitlab.com"}, {host: "codeberg.org"}, {host: "gitea.com"}, {host: "bitbucket.org"}, {host: "huggingface.co"},
	{host: "auth.atlassian.com"}, {host: "login.docker.com"}, {host: "orcid.org"}, {host: "id.heroku.com"},
	{host: "facebook.com"}, {host: "*.facebook.com"}, {host: "linkedin.com"}, {host: "*.linkedin.com"},
	{host: "login.yahoo.com"}, {host: "*.login.yahoo.com"}, {host: "*.login.yahoo.co.jp"}, {host: "amazon.com"}, {host: "*.amazon.com"},
	{host: "slack.com"}, {host: "id.twitch.tv"}, {host: "discord.com"}, {host: "*.discord.com"}, {host: "paypal.com"}, {host: "*.paypal.com"}, {host: "*.paypalobjects.com"},
	{host: "access.line.me"}, {host: "*.yandex.ru"}, {host: "*.yandex.com"}, {host: "kauth.kakao.com"}, {host: "nid.naver.com"}, {host: "id.vk.com"}, {host: "id.vk.ru"},
	{host: "oauth.telegram.org"}, {host: "accounts.spotify.com"}, {host: "oauth.battle.net"}, {host: "*.battle.net"}, {host: "shop.app"}, {host: "*.dropbox.com"},
	{host: "login.salesforce.com"}, {host: "test.salesforce.com"}, {host: "accounts.zoho.com"}, {host: "accounts.zoho.eu"}, {host: "accounts.zoho.in"},
	{host: "oauth.platform.intuit.com"}, {host: "identity.xero.com"}, {host: "id.worldcoin.org"}, {host: "secure.login.gov"},
}

// publicIssuerOf returns the entry for an issuer, nil for one that is not known
// as public. Case, a default port, slashes and a dot at the end of the host make
// no difference.
func publicIssuerOf(issuer string) *publicIssuer {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	first, _, _ := strings.Cut(strings.Trim(strings.ToLower(u.Path), "/"), "/")
	for i := range publicIssuers {
		p := &publicIssuers[i]
		if rule.InDomain(p.host, host) && (len(p.paths) == 0 || slices.Contains(p.paths, first)) {
			return p
		}
	}
	return nil
}
