package oidc

import (
	"net/url"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// publicIssuer is an OpenID issuer where everyone can have an account, so that
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

// publicIssuers are those that are known. The list cannot be whole: an issuer that is
// not in it counts as the operator's own, like the issuer of one company.
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
