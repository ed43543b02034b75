package config

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// rules resolves what an entry of proxy.hosts asks of requests.
func (r *resolver) rules(at string, f HostFile) rule.Rules {
	rules := rule.Rules{
		ToolPolicy:     f.ToolPolicy,
		Scopes:         r.scopeRules(at+".scopes", f.Scopes),
		Body:           f.Body,
		EnvoyMCP:       f.EnvoyMCP,
		ExtMCP:         f.ExtMCP,
		RefuseRefresh:  f.RefuseRefreshAfterStepUp,
		HideGrantable:  f.HideGrantable,
		HoldChanged:    f.HoldChangedTools,
		AllowedOrigins: f.CORS.AllowedOrigins,
	}
	rules.StepUpStatus, _ = strconv.Atoi(f.StepUp) // 0 for what suits the gateway
	if f.EnvoyMCP && f.Body {
		r.Add(at+".envoyMCP", "is another source of what body tells; remove one of the two")
	}
	if f.EnvoyMCP && f.ExtMCP {
		r.Add(at+".extMCP", "is for agentgateway, and envoyMCP for Envoy; remove one of the two")
	}
	const gateways = "is for a gateway, and serve has none; remove one of the two"
	if f.EnvoyMCP && f.Serve.Enabled {
		r.Add(at+".envoyMCP", gateways)
	}
	if f.ExtMCP && f.Serve.Enabled {
		r.Add(at+".extMCP", gateways)
	}
	r.origins(at+".cors.allowedOrigins", f.CORS.AllowedOrigins)
	r.promised(at+".toolPolicy", &rules, f.Serve.Enabled)
	if f.HoldChangedTools {
		r.held(at+".holdChangedTools", &rules, f.Serve.Enabled)
	}
	return rules
}

// held checks what holds changed tools back.
func (r *resolver) held(at string, rules *rule.Rules, served bool) {
	switch {
	case rules.ToolPolicy == rule.Advisory:
		r.Add(at, `holds nothing back where toolPolicy is "advisory"; remove one of the two`)
	case rules.ToolPolicy == rule.Enforce && !rules.SeeBody() && !served:
		r.Warn(at, "refuses every request of an MCP revision before 2026-07-28, because nothing tells which tool it uses; body: true or, behind Envoy, envoyMCP: true, behind agentgateway extMCP: true lets such clients in, see docs/tool-policy.md")
	}
}

// promised warns where the operator has written scopes that people choose from, and
// that some or all clients are not held to.
func (r *resolver) promised(at string, rules *rule.Rules, served bool) {
	switch {
	case len(rules.Scopes) == 0 || served:
	case rules.ToolPolicy == rule.Advisory:
		r.Warn(at, "\"advisory\" holds no client to the scopes of this entry; the consent page says so")
	case rules.ToolPolicy == rule.Enforce && !rules.SeeBody():
		r.Warn(at, "\"enforce\" holds clients of MCP revision 2026-07-28 and later to the scopes of this entry, and one that speaks an older revision to none, as the consent page says; \"strict\", body: true or, behind Envoy, envoyMCP: true, behind agentgateway extMCP: true closes that, see docs/tool-policy.md")
	}
}

func (r *resolver) scopeRules(at string, scopes []rule.Scope) []rule.Scope {
	for i, f := range scopes {
		at := conf.Element(at, i)
		switch {
		case f.Name == "":
			r.Add(at+".name", "is required")
		case !conf.IsScopeToken(f.Name):
			r.Add(at+".name", `%s is not a scope: printable ASCII without spaces, '"' and '\'`, conf.Show(f.Name))
		case f.Name == "offline_access" || f.Name == "openid":
			r.Add(at+".name", "%q has a meaning of its own at an authorization server", f.Name)
		case slices.ContainsFunc(scopes[:i], func(o rule.Scope) bool { return o.Name == f.Name }):
			r.Add(at+".name", "%q is listed twice", f.Name)
		}
		if len(f.Tools)+len(f.Resources)+len(f.Prompts)+len(f.Includes) == 0 {
			r.Add(at, "opens nothing; name tools, resources, prompts or scopes that it includes")
		}
	}
	return scopes
}

// origins checks serialized origins (RFC 6454, section 6.2), which are compared
// byte by byte. "null" is every sandboxed page, so it is no origin to allow.
func (r *resolver) origins(at string, origins []string) {
	for i, origin := range origins {
		if origin == "*" {
			if len(origins) > 1 {
				r.Add(conf.Element(at, i), `"*" admits every origin already; remove it or the others`)
			}
			continue
		}
		u, err := url.Parse(origin)
		if err != nil || len(origin) > conf.MaxURL || u.Scheme == "" || u.Host == "" || strings.ToLower(u.Scheme+"://"+u.Host) != origin ||
			u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80" {
			r.Add(conf.Element(at, i), `%s is not an origin such as "https://app.example.com": scheme and host in lower case, no path, no default port`, conf.Show(origin))
		}
	}
}
