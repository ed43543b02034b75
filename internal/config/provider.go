package config

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
)

func (r *providerResolver) provider(f ProviderFile) connector.Config {
	p := connector.Config{
		ID:           f.ID,
		KeepSubjects: f.KeepSubjects,
		Name:         f.Name,
		ClientID:     f.ClientID,
		Scopes:       f.Scopes,
		EmailDomains: r.emailDomains(f.AllowedEmailDomains),
		AllowAnyUser: f.AllowAnyUser,
	}
	r.ScopeTokens(r.key("scopes"), f.Scopes)
	k := kindOf(f.Name)
	r.admitted(f, k)
	// Without a valid name, what the other keys should be is unknown.
	if k == nil {
		r.providerName(f.Name)
		return p
	}
	if len(p.Scopes) == 0 {
		p.Scopes = k.scopes()
		if len(f.AllowedOrganizations) > 0 {
			p.Scopes = append(p.Scopes, connector.OrganizationsScope)
		}
	}
	r.misplaced(f)
	r.openIDScope(f)
	p.ClientSecret = r.clientCredentials(f)
	p.IssuerURL = r.issuerURL(f)
	p.BackChannelURL = r.backChannelURL(f)
	p.Authorities = r.Authorities(r.key("caFile"), f.CAFile)
	p.BaseURL = r.baseURL(f)
	p.Tenants = r.tenants(f)
	p.HostedDomains = r.hostedDomains(f)
	p.Organizations = r.organizations(f)
	r.endpoints(f, &p)
	r.claims(f, &p)
	p.ACRValues = r.acrValues(f)
	p.AuthorizationParams = r.authorizationParams(f)
	p.GroupsFilter = r.groupsFilter(f)
	p.TrustUnverifiedEmail = r.trustUnverifiedEmail(f)
	p.ClientKey = r.clientKey(f)
	p.ClientAuthMethod = r.clientAuth(f)
	p.AssertionForIssuer = r.assertionAudience(f)
	p.Workspace = r.workspace(f)
	p.Users, p.UsersFile = r.accounts(f)
	r.Text(r.key("displayName"), f.DisplayName)
	p.DisplayName = cmp.Or(f.DisplayName, k.displayName(p))
	return p
}

func (r *providerResolver) providerName(name string) {
	at := r.key("name")
	names := conf.Quoted(ProviderNames())
	if name == "" {
		r.Add(at, "is required: one of %s", names)
		return
	}
	r.Add(at, "%s is not one of %s", conf.Show(name), names)
}

// emailDomains compiles patterns over the lower-cased domain of an e-mail address.
func (r *providerResolver) emailDomains(patterns []string) []*regexp.Regexp {
	at := r.key("allowedEmailDomains")
	compiled := r.patterns(at, patterns)
	for i, pattern := range patterns {
		switch {
		case i >= len(compiled) || compiled[i] == nil:
		case requiresLiteral(pattern, func(c rune) bool { return c == '@' }):
			r.Add(conf.Element(at, i), `%s holds an "@"; the pattern is compared with the domain alone, such as "example\.com"`, conf.Show(pattern))
		case compiled[i].MatchString("attacker.example") && compiled[i].MatchString("attacker.invalid"):
			r.Add(conf.Element(at, i), "%s admits every domain; to admit everybody, set %s: true", conf.Show(pattern), r.key("allowAnyUser"))
		case suffixOnly(pattern) != "":
			name := suffixOnly(pattern)
			r.Add(conf.Element(at, i), "%s admits %q too; write %q for a name and those below it", conf.Show(pattern), "attacker-"+name, `(.*\.)?`+regexp.QuoteMeta(name))
		case requiresLiteral(pattern, unicode.IsUpper):
			r.Add(conf.Element(at, i), "%s holds a capital letter, but is compared with the domain in lower case", conf.Show(pattern))
		}
	}
	return compiled
}

// openIDScope holds custom scopes to OpenID Connect Core, section 3.1.2.1:
// without openid there is no ID token.
func (r *providerResolver) openIDScope(f ProviderFile) {
	at := r.key("scopes")
	switch {
	case len(f.Scopes) == 0:
	case f.Name == "static":
		r.notFor(at, f.Name)
	case f.Name == "github":
		if len(f.AllowedOrganizations) > 0 && !slices.Contains(f.Scopes, connector.OrganizationsScope) {
			r.Add(at, "must include %q for %s", connector.OrganizationsScope, r.key("allowedOrganizations"))
		}
	case f.Name == "oauth2":
	case !slices.Contains(f.Scopes, "openid"):
		r.Add(at, `must include "openid" for %q`, f.Name)
	case f.Name == "microsoft" && !slices.Contains(f.Scopes, "profile"):
		r.Add(at, `must include "profile" for "microsoft", which names the account (oid) only then`)
	}
}

// clientCredentials checks clientID and returns the client secret.
func (r *providerResolver) clientCredentials(f ProviderFile) conf.Secret {
	id, secret, file := r.key("clientID"), r.key("clientSecret"), r.key("clientSecretFile")
	if f.Name == "static" {
		for at, value := range map[string]string{id: f.ClientID, secret: f.ClientSecret, file: f.ClientSecretFile} {
			if value != "" {
				r.notFor(at, f.Name)
			}
		}
		return conf.Secret{}
	}
	if f.ClientID == "" {
		r.Add(id, "is required for %q", f.Name)
	} else if !conf.IsScopeToken(f.ClientID) {
		r.Add(id, "is not a client id: printable ASCII without spaces, at most %d bytes", conf.MaxText)
	}
	r.NotReplaced(id, f.ClientID)
	value, at := f.ClientSecret, secret
	switch {
	case f.ClientKeyFile != "":
		if f.ClientSecret != "" || f.ClientSecretFile != "" {
			r.Add(r.key("clientKeyFile"), "excludes a client secret; set one of the two")
		}
		return conf.Secret{}
	case f.ClientSecret != "" && f.ClientSecretFile != "":
		r.Add(file, "excludes %s; set one of the two", secret)
		return conf.Secret{}
	case f.ClientSecretFile != "":
		content, ok := r.SecretFile(file, f.ClientSecretFile)
		if !ok {
			return conf.Secret{}
		}
		value, at = strings.TrimRight(content, "\r\n"), file
		if value == "" {
			r.Add(file, "the file is empty")
		}
	case f.ClientSecret == "":
		if !r.IsMalformed(file) {
			r.Add(secret, "or %s is required for %q", file, f.Name)
		}
		return conf.Secret{}
	}
	r.NotReplaced(at, value)
	if strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		r.Add(at, "holds a space, a line break or a control character, which no client secret does")
	}
	return conf.NewSecret(value)
}

func (r *providerResolver) issuerURL(f ProviderFile) string {
	at := r.key("issuerURL")
	switch {
	case f.Name != "oidc" && f.Name != "oauth2", f.Name == "oauth2" && f.IssuerURL == "":
		return ""
	case f.IssuerURL == "":
		r.Add(at, "is required for %q", f.Name)
		return ""
	}
	if u := r.SecureURL(at, f.IssuerURL); u != nil && f.Name == "oidc" {
		r.issuerShape(at, f.IssuerURL, u)
	}
	return f.IssuerURL
}

// issuerShape refuses an issuer that is the address of something else.
func (r *providerResolver) issuerShape(at, value string, u *url.URL) {
	for _, document := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		if issuer, found := strings.CutSuffix(strings.TrimSuffix(value, "/"), document); found {
			r.Add(at, "is the address of the discovery document; the issuer is %s, or with a slash at the end: as the document has it in \"issuer\"", conf.ShowURL(issuer))
			return
		}
	}
	if strings.Contains(u.Path, "/.well-known/") {
		r.Add(at, "%s is the address of a document; the issuer is what that document has in \"issuer\"", conf.ShowURL(value))
	}
	if strings.ContainsAny(value, "{}") {
		r.Add(at, "%s holds a brace; write the issuer of one directory, or use name \"microsoft\" for several", conf.ShowURL(value))
	}
}

// backChannelURL may use http: it is the operator's own way to the provider, for
// instance inside a cluster.
func (r *providerResolver) backChannelURL(f ProviderFile) string {
	at := r.key("backchannelURL")
	if f.BackchannelURL == "" {
		return ""
	}
	u, problem := conf.AbsoluteURL(f.BackchannelURL)
	switch {
	case problem != "":
		r.Add(at, "%s %s", conf.ShowURL(f.BackchannelURL), problem)
	case u.RawQuery != "" || u.ForceQuery:
		r.Add(at, "%s must not have a query", conf.ShowURL(f.BackchannelURL))
	case strings.Contains(u.Path, "/.well-known/"):
		r.Add(at, "%s is the address of a document; write what stands before /.well-known", conf.ShowURL(f.BackchannelURL))
	case u.Scheme == "http" && !conf.IsLoopback(u.Hostname()):
		r.Warn(at, "uses http: who can change what is sent on the way to %s can sign in as everybody; use https where that network is not yours alone", conf.Show(u.Host))
	}
	return f.BackchannelURL
}

func (r *providerResolver) baseURL(f ProviderFile) string {
	at := r.key("baseURL")
	switch f.Name {
	case "github":
	case "microsoft":
		return r.cloud(at, f.BaseURL)
	default:
		return ""
	}
	base := strings.TrimSuffix(cmp.Or(f.BaseURL, "https://github.com"), "/")
	if u := r.SecureURL(at, base); u != nil && u.Path != "" {
		r.Add(at, "%s has a path; write scheme and host alone", conf.ShowURL(base))
	}
	return base
}

// notFor reports a key that the chosen provider has no use for.
func (r *resolver) notFor(at, provider string) {
	r.Add(at, "has no meaning for provider %q; remove it", provider)
}

// groups refuses commas, which separate groups in the identity header.
func (r *resolver) groups(at string, groups []string) {
	if r.TooMany(at, len(groups), maxGroups) {
		return
	}
	for i, group := range groups {
		at := conf.Element(at, i)
		switch {
		case group == "":
			r.Add(at, "is empty")
		case strings.Contains(group, ","):
			r.Add(at, "%s holds a comma; write one group per entry", conf.Show(group))
		case slices.Index(groups, group) < i:
			r.Add(at, "%s is listed twice", conf.Show(group))
		}
		r.Text(at, group)
	}
}
