package config

import (
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// rules resolves what an entry of proxy.hosts asks of requests.
func (r *resolver) rules(at string, f HostFile) rule.Rules {
	rules := rule.Rules{
		ToolPolicy:     rule.ToolPolicy(orDefault(f.ToolPolicy, string(rule.Enforce))),
		Scopes:         r.scopeRules(at+".scopes", f.Scopes),
		Body:           f.Body,
		RefuseRefresh:  f.RefuseRefreshAfterStepUp,
		AllowedOrigins: f.CORS.AllowedOrigins,
	}
	switch rules.ToolPolicy {
	case rule.Enforce, rule.Strict, rule.Advisory:
	default:
		r.add(at+".toolPolicy", `%s is not one of "enforce", "strict", "advisory"`, show(f.ToolPolicy))
	}
	switch f.StepUp {
	case "":
	case "401":
		rules.StepUpStatus = 401
	case "403":
		rules.StepUpStatus = 403
	default:
		r.add(at+".stepUp", `%s is not one of "401", "403"`, show(f.StepUp))
	}
	r.origins(at+".cors.allowedOrigins", f.CORS.AllowedOrigins)
	return rules
}

func (r *resolver) scopeRules(at string, files []ScopeFile) []rule.Scope {
	if r.tooMany(at, len(files), maxScopes) {
		return nil
	}
	var rules []rule.Scope
	for i, f := range files {
		at := element(at, i)
		switch {
		case f.Name == "":
			r.add(at+".name", "is required")
		case !isScopeToken(f.Name):
			r.add(at+".name", `%s is not a scope: printable ASCII without spaces, '"' and '\'`, show(f.Name))
		case f.Name == "offline_access" || f.Name == "openid":
			r.add(at+".name", "%q has a meaning of its own at an authorization server", f.Name)
		case slices.ContainsFunc(files[:i], func(o ScopeFile) bool { return o.Name == f.Name }):
			r.add(at+".name", "%q is listed twice", f.Name)
		}
		r.text(at+".description", f.Description)
		r.namePatterns(at+".tools", f.Tools)
		r.namePatterns(at+".resources", f.Resources)
		r.namePatterns(at+".prompts", f.Prompts)
		r.scopes(at+".includes", f.Includes)
		if len(f.Tools)+len(f.Resources)+len(f.Prompts)+len(f.Includes) == 0 {
			r.add(at, "opens nothing; name tools, resources, prompts or scopes that it includes")
		}
		rules = append(rules, rule.Scope(f))
	}
	return rules
}

// namePatterns checks patterns for Match.
func (r *resolver) namePatterns(at string, patterns []string) {
	if r.tooMany(at, len(patterns), maxPatterns) {
		return
	}
	for i, p := range patterns {
		switch {
		case p == "" || len(p) > maxPattern || !utf8.ValidString(p) || strings.ContainsFunc(p, func(c rune) bool { return !unicode.IsPrint(c) }):
			r.add(element(at, i), "is not a name: printable text of at most %d bytes", maxPattern)
		case strings.Contains(strings.TrimSuffix(p, "*"), "*"):
			r.add(element(at, i), "%s has an asterisk that is not at its end", show(p))
		}
	}
}

// origins checks serialized origins (RFC 6454, section 6.2), which are compared
// byte by byte. "null" is every sandboxed page, so it is no origin to allow.
func (r *resolver) origins(at string, origins []string) {
	if r.tooMany(at, len(origins), maxPatterns) {
		return
	}
	for i, origin := range origins {
		if origin == "*" {
			if len(origins) > 1 {
				r.add(element(at, i), `"*" admits every origin already; remove it or the others`)
			}
			continue
		}
		u, err := url.Parse(origin)
		if err != nil || len(origin) > maxURL || u.Scheme == "" || u.Host == "" || strings.ToLower(u.Scheme+"://"+u.Host) != origin ||
			u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80" {
			r.add(element(at, i), `%s is not an origin such as "https://app.example.com": scheme and host in lower case, no path, no default port`, show(origin))
		}
	}
}
