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

// endpoints resolves what other providers publish by discovery.
func (r *providerResolver) endpoints(f ProviderFile, p *connector.Config) {
	if f.Name != "oauth2" {
		return
	}
	for at, value := range map[string]string{
		r.key("authorizeURL"): f.AuthorizeURL, r.key("tokenURL"): f.TokenURL, r.key("userinfoURL"): f.UserinfoURL,
	} {
		if value == "" {
			r.Add(at, "is required for %q", f.Name)
			continue
		}
		r.SecureURL(at, value)
	}
	p.AuthorizeURL, p.TokenURL, p.UserinfoURL = f.AuthorizeURL, f.TokenURL, f.UserinfoURL
}

// claims resolves where in the provider's answers a person's properties are.
func (r *providerResolver) claims(f ProviderFile, p *connector.Config) {
	if f.Name != "oidc" && f.Name != "oauth2" {
		return
	}
	p.SubjectClaim = r.claim(r.key("subjectClaim"), f.SubjectClaim, "sub")
	p.EmailClaim = r.claim(r.key("emailClaim"), f.EmailClaim, "email")
	p.NameClaim = r.claim(r.key("nameClaim"), f.NameClaim, "name")
	p.GroupsClaim = r.claim(r.key("groupsClaim"), f.GroupsClaim, "groups")
	// OpenID Connect Core, section 5.1: email_verified is about email, and says
	// nothing of an address from elsewhere.
	standard := ""
	if p.EmailClaim == "email" {
		standard = "email_verified"
	}
	p.EmailVerifiedClaim = r.claim(r.key("emailVerifiedClaim"), f.EmailVerifiedClaim, standard)
	if p.EmailVerifiedClaim == "" && !f.InsecureTrustUnverifiedEmail {
		r.Add(r.key("emailVerifiedClaim"), "is required with %s: name the claim that says whether that address is verified; "+
			"where there is none, and people cannot change the address themselves, set %s: true", r.key("emailClaim"), r.key("insecureTrustUnverifiedEmail"))
	}
}

// claim checks a claim's name or JSON pointer (RFC 6901, section 3).
func (r *resolver) claim(at, value, standard string) string {
	r.Text(at, value)
	if strings.HasPrefix(value, "/") && badEscape.MatchString(value) {
		r.Add(at, `%s is not a JSON pointer: "~" stands before 0 or 1 only`, conf.Show(value))
	}
	return cmp.Or(value, standard)
}

var badEscape = regexp.MustCompile(`~([^01]|$)`)

func (r *providerResolver) acrValues(f ProviderFile) []string {
	at := r.key("acrValues")
	if r.TooMany(at, len(f.ACRValues), conf.MaxScopes) {
		return nil
	}
	for i, value := range f.ACRValues {
		if !conf.IsScopeToken(value) {
			r.Add(conf.Element(at, i), "%s is not a class: printable ASCII without spaces", conf.Show(value))
		}
	}
	return f.ACRValues
}

var paramName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,63}$`)

func (r *providerResolver) authorizationParams(f ProviderFile) map[string]string {
	at := r.key("authorizationParams")
	if r.TooMany(at, len(f.AuthorizationParams), conf.MaxScopes) {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(f.AuthorizationParams)) {
		at := conf.Join(at, conf.ShowKey(name))
		switch {
		case !paramName.MatchString(name):
			r.Add(at, "is not the name of a parameter")
		case slices.Contains(connector.ProtocolParams, strings.ToLower(name)):
			r.Add(at, "is a parameter of the protocol, which this service sets itself")
		case f.Name == "microsoft" && name == "resource":
			r.Add(at, "is refused by version 2.0 of Microsoft's endpoints; name scopes instead")
		}
		r.Text(at, f.AuthorizationParams[name])
	}
	return f.AuthorizationParams
}
