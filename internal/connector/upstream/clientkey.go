package upstream

import "github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"

// assertionForIssuer reports whether the issuer, and not the token endpoint, is
// the audience of what this service signs.
func (a KeyedApp) assertionForIssuer(c conf.Section) (issuer bool) {
	switch a.ClientAssertionAudience {
	case "", "token_endpoint":
	case "issuer":
		return true
	default:
		c.Add(c.Key("clientAssertionAudience"), `%s is not one of "token_endpoint", "issuer"`, conf.Show(a.ClientAssertionAudience))
	}
	return false
}
