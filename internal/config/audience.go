package config

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
)

// misplaced reports keys that mean nothing for the chosen provider.
func (r *providerResolver) misplaced(f ProviderFile) {
	for _, key := range []struct {
		name  string
		set   bool
		names []string // of providers
	}{
		{"issuerURL", f.IssuerURL != "", []string{"oidc", "oauth2"}},
		{"backchannelURL", f.BackchannelURL != "", []string{"oidc"}},
		{"caFile", f.CAFile != "", []string{"google", "github", "microsoft", "oidc", "oauth2"}},
		{"authorizeURL", f.AuthorizeURL != "", []string{"oauth2"}},
		{"tokenURL", f.TokenURL != "", []string{"oauth2"}},
		{"userinfoURL", f.UserinfoURL != "", []string{"oauth2"}},
		{"clientAuthMethod", f.ClientAuthMethod != "", []string{"oidc", "oauth2", "microsoft"}},
		{"clientKeyFile", f.ClientKeyFile != "", []string{"oidc", "microsoft"}},
		{"subjectClaim", f.SubjectClaim != "", []string{"oidc", "oauth2"}},
		{"emailClaim", f.EmailClaim != "", []string{"oidc", "oauth2"}},
		{"emailVerifiedClaim", f.EmailVerifiedClaim != "", []string{"oidc", "oauth2"}},
		{"nameClaim", f.NameClaim != "", []string{"oidc", "oauth2"}},
		{"acrValues", len(f.ACRValues) > 0, []string{"oidc"}},
		{"authorizationParams", len(f.AuthorizationParams) > 0, []string{"microsoft", "oidc", "oauth2"}},
		{"baseURL", f.BaseURL != "", []string{"github", "microsoft"}},
		{"tenants", len(f.Tenants) > 0, []string{"microsoft"}},
		{"hostedDomains", len(f.HostedDomains) > 0, []string{"google"}},
		{"allowedOrganizations", len(f.AllowedOrganizations) > 0, []string{"github"}},
		{"groupsClaim", f.GroupsClaim != "", []string{"oidc", "oauth2"}},
		{"workspace", f.Workspace != (WorkspaceFile{}), []string{"google"}},
		{"groupsFilter", len(f.GroupsFilter) > 0, []string{"google", "github", "microsoft", "oidc", "oauth2"}},
		{"insecureTrustUnverifiedEmail", f.InsecureTrustUnverifiedEmail, []string{"microsoft", "oidc", "oauth2"}},
		{"users", len(f.Users) > 0, []string{"static"}},
		{"usersFile", f.UsersFile != "", []string{"static"}},
	} {
		if key.set && !slices.Contains(key.names, f.Name) {
			r.notFor(r.key(key.name), f.Name)
		}
	}
}

// admitted refuses to leave open by omission who may sign in.
func (r *providerResolver) admitted(f ProviderFile, k kind) {
	at := r.key("allowAnyUser")
	narrowed := map[string]bool{
		"allowedEmailDomains": len(f.AllowedEmailDomains) > 0, "tenants": len(f.Tenants) > 0,
		"hostedDomains": len(f.HostedDomains) > 0, "allowedOrganizations": len(f.AllowedOrganizations) > 0,
	}
	for _, key := range []string{"allowedEmailDomains", "tenants", "hostedDomains", "allowedOrganizations"} {
		if narrowed[key] && f.AllowAnyUser {
			r.Add(at, "contradicts %s; set one of the two", r.key(key))
		}
	}
	if k == nil || f.AllowAnyUser || r.IsMalformed(at) {
		return
	}
	who := k.audience(f)
	if who.chosen || slices.ContainsFunc(who.keys, func(key string) bool { return narrowed[key] }) {
		return
	}
	otherwise := "; to admit everybody, set " + at + ": true"
	if who.instead != "" {
		otherwise = "; " + who.instead + otherwise
	}
	switch len(who.keys) {
	case 0:
		r.Add(at, "is needed for %s%s%s", who.of, who.where, otherwise)
	case 1:
		r.Add(r.key(who.keys[0]), "is required for %s%s%s", who.of, who.where, otherwise)
	default:
		r.Add(r.key(who.keys[0]), "is required for %s%s, or %s is%s", who.of, who.where, r.key(who.keys[1]), otherwise)
	}
}

func (r *resolver) cloud(at, value string) string {
	base := strings.TrimSuffix(cmp.Or(value, "https://login.microsoftonline.com"), "/")
	if _, known := connector.Clouds[base]; !known {
		r.Add(at, "%s is not one of %s", conf.ShowURL(base), strings.Join(slices.Sorted(maps.Keys(connector.Clouds)), ", "))
	}
	return base
}

var directoryID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func (r *providerResolver) tenants(f ProviderFile) []string {
	at := r.key("tenants")
	return r.LowerNames(at, f.Tenants, func(id string) string {
		if !directoryID.MatchString(id) {
			return `is not a directory id such as "11111111-2222-3333-4444-555555555555"`
		}
		return ""
	})
}

func (r *providerResolver) hostedDomains(f ProviderFile) []string {
	at := r.key("hostedDomains")
	return r.LowerNames(at, f.HostedDomains, func(domain string) string {
		if conf.DNSNameProblem(domain) != "" || !strings.Contains(domain, ".") {
			return `is not a domain such as "example.com"`
		}
		return ""
	})
}

// organization is a login of GitHub's, with the slug of a team behind it.
var organization = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,99}(/[a-z0-9][a-z0-9._-]{0,254})?$`)

func (r *providerResolver) organizations(f ProviderFile) []string {
	at := r.key("allowedOrganizations")
	return r.LowerNames(at, f.AllowedOrganizations, func(name string) string {
		if !organization.MatchString(name) {
			return `is not an organization such as "octo-org" or a team such as "octo-org/security-team"`
		}
		return ""
	})
}

func (r *providerResolver) groupsFilter(f ProviderFile) []string {
	r.NamePatterns(r.key("groupsFilter"), f.GroupsFilter)
	return f.GroupsFilter
}

func (r *providerResolver) trustUnverifiedEmail(f ProviderFile) bool {
	// The owner of a directory writes any address into it, so where any
	// directory is admitted no address means anything.
	if f.Name == "microsoft" && f.InsecureTrustUnverifiedEmail && f.AllowAnyUser {
		r.Add(r.key("insecureTrustUnverifiedEmail"), "is refused with %s: anybody could come with any address; name %s", r.key("allowAnyUser"), r.key("tenants"))
	}
	if public := publicIssuerOf(f.IssuerURL); f.Name == "oidc" && f.InsecureTrustUnverifiedEmail && public != nil {
		r.Add(r.key("insecureTrustUnverifiedEmail"), "is refused for the issuer %s: anybody could come with any address", conf.ShowURL(f.IssuerURL))
	}
	return f.InsecureTrustUnverifiedEmail
}
