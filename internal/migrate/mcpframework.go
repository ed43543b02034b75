package migrate

import (
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/apikey"
)

const (
	frameworkOAuth = "auth.provider.OAuthAuthProvider."
	frameworkKeys  = "auth.provider.APIKeyAuthProvider."
	frameworkJWT   = "auth.provider.JWTAuthProvider."
	frameworkSATP  = "auth.provider.SATPProvider."
)

func mcpFramework() Kind {
	own := "the MCP server keeps it: it is its own business behind this service"
	satp := "trust scores of agents have no counterpart; rules of the policy name agents by what issuers say of them (actors, roles)"
	return Kind{
		Name: "mcp-framework", Title: "mcp-framework's authentication", Home: "https://github.com/QuantGeekDev/mcp-framework", Version: "of April 2026 (ead9c4b)",
		Reads: "the options of `new MCPServer({…})` as JSON, with values in place of `process.env.…`, and each provider as `{\"OAuthAuthProvider\": {…}}`", read: readFramework, translate: fromFramework,
		About: "Take `auth` out of the MCP server's options afterwards: this service stands in front of it, and two challenges confuse clients. The server stays at its port, where only this service may reach it. An API key of the framework becomes a new one, since a key of this service is made by it and only its hash is kept; hand the new keys out.",
		Options: []Option{
			{Name: "name", Becomes: "proxy.hosts[].displayName"},
			{Name: "version", Note: own}, {Name: "basePath", Note: own}, {Name: "logging", Note: own}, {Name: "tasks", Note: own}, {Name: "devMode", Note: own},
			{Name: "transport.type", Becomes: "proxy.hosts[].endpoint", Note: "stdio has no authentication there"},
			{Name: "options.port", Becomes: "proxy.hosts[].endpoint"},
			{Name: "options.host", Becomes: "proxy.hosts[].endpoint"},
			{Name: "options.endpoint", Becomes: "proxy.hosts[].endpoint"},
			{Name: "options.messageEndpoint", Note: "the MCP server says where messages go, and this service replaces the address"},
			{Name: "options.responseMode", Note: own}, {Name: "options.batchTimeout", Note: own}, {Name: "options.session", Note: own}, {Name: "options.resumability", Note: own},
			{Name: "options.headers", Note: own}, {Name: "options.health", Note: own}, {Name: "options.oauth", Note: "callbacks of the program have no counterpart; the audit log says who signs in"},
			{Name: "options.maxMessageSize", Note: "a message may have 1 MiB here"},
			{Name: "options.cors.allowOrigin", Becomes: "proxy.hosts[].cors.allowedOrigins"},
			{Name: "options.cors.allowedOrigins", Becomes: "proxy.hosts[].cors.allowedOrigins"},
			{Name: "options.cors.allowMethods", Note: "those of MCP are allowed"}, {Name: "options.cors.allowHeaders", Note: "those of MCP are allowed"},
			{Name: "options.cors.exposeHeaders", Note: "those of MCP are shown"}, {Name: "options.cors.maxAge", Note: "browsers may remember a preflight for a fixed time"},
			{Name: "auth.endpoints", Note: "every request needs a token here; the framework left the stream of HTTP+SSE open unless sse was true"},
			{Name: frameworkOAuth + "authorizationServers", Becomes: "proxy.hosts[].authorizationServers"},
			{Name: frameworkOAuth + "resource", Becomes: "proxy.hosts[].host", Note: "the public URL of the MCP server"},
			{Name: frameworkOAuth + "headerName", Note: "tokens come in the header Authorization, as the standard has it"},
			{Name: frameworkOAuth + "validation.type", Becomes: "proxy.hosts[].authorizationServers[].introspection"},
			{Name: frameworkOAuth + "validation.audience", Becomes: "proxy.hosts[].authorizationServers[].audiences", Note: "checked for introspected tokens too, of which the framework did not look at the audience"},
			{Name: frameworkOAuth + "validation.issuer", Becomes: "proxy.hosts[].authorizationServers[].issuer"},
			{Name: frameworkOAuth + "validation.jwksUri", Becomes: "proxy.hosts[].authorizationServers[].jwksURL"},
			{Name: frameworkOAuth + "validation.algorithms", Becomes: "proxy.hosts[].authorizationServers[].algorithms"},
			{Name: frameworkOAuth + "validation.introspection.endpoint", Becomes: "proxy.hosts[].authorizationServers[].introspection.endpoint"},
			{Name: frameworkOAuth + "validation.introspection.clientId", Becomes: "proxy.hosts[].authorizationServers[].introspection.clientID"},
			{Name: frameworkOAuth + "validation.introspection.clientSecret", Becomes: "proxy.hosts[].authorizationServers[].introspection.clientSecretFile", Secret: true},
			{Name: frameworkOAuth + "validation.introspection.cacheTTL", Becomes: "proxy.hosts[].authorizationServers[].introspection.cache", Note: "a revoked token lives on for this time; the framework's five minutes are more than is allowed here, and 30 s are the default"},
			{Name: frameworkKeys + "keys", Becomes: "apiKeys.keys", Secret: true, Note: "a new key for each, since only keys that this service made are known to be random; they end after 90 days. Keys in addresses (?api_key=) are not taken"},
			{Name: frameworkKeys + "headerName", Becomes: "proxy.hosts[].apiKeys.header"},
			{Name: frameworkJWT + "secret", Secret: true, Restricts: true, Note: "a secret that issuer and server share signs for everyone who has it; let an authorization server sign with a key, or take API keys"},
			{Name: frameworkJWT + "algorithms", Note: "goes with the shared secret"}, {Name: frameworkJWT + "headerName", Note: "goes with the shared secret"},
			{Name: frameworkJWT + "requireBearer", Note: "goes with the shared secret"},
			{Name: frameworkSATP + "apiUrl", Note: satp}, {Name: frameworkSATP + "minTrustScore", Note: satp, Restricts: true}, {Name: frameworkSATP + "requireVerified", Note: satp, Restricts: true},
			{Name: frameworkSATP + "agentIdHeader", Note: satp}, {Name: frameworkSATP + "onMissing", Note: satp, Restricts: true}, {Name: frameworkSATP + "cacheTtlMs", Note: satp},
		},
	}
}

// readFramework reads the options, of which some may stand in several places: auth
// at the top, in the transport or in the transport's options.
func readFramework(g *given, f File) {
	raw := &given{options: []Option{{Name: "*"}}}
	for _, name := range []string{"name", "version", "basePath", "logging", "tasks", "devMode", "transport", "transports", "auth"} {
		raw.options = append(raw.options, Option{Name: name})
	}
	raw.values = map[string]value{}
	readJSON(raw, f)
	g.mistakes = append(g.mistakes, raw.mistakes...)
	transport := raw.values["transport"].of
	if several, ok := raw.values["transports"].of.([]any); ok {
		if transport != nil || len(several) != 1 {
			g.mistakes = append(g.mistakes, f.Name+": transports: translate one transport at a time; keep one, as transport")
		} else {
			transport = several[0]
		}
	}
	for _, path := range raw.order {
		if path != "transport" && path != "transports" {
			g.tree(f.Name, path, raw.values[path].of)
		}
	}
	section, ok := transport.(map[string]any)
	if transport != nil && !ok {
		g.mistakes = append(g.mistakes, f.Name+": transport: must be a mapping")
	}
	for _, key := range sortedKeys(section) {
		switch options, is := section[key].(map[string]any); {
		case key == "options" && is:
			for _, name := range sortedKeys(options) {
				at := "options." + name
				if name == "auth" {
					at = "auth"
				}
				g.tree(f.Name, at, options[name])
			}
		case key == "auth":
			g.tree(f.Name, "auth", section[key])
		default:
			g.tree(f.Name, "transport."+key, section[key])
		}
	}
}

func fromFramework(t *translation) {
	upstream := t.frameworkUpstream()
	public := t.public(frameworkOAuth + "resource")
	if strings.HasSuffix(upstream.Path, "/sse") {
		public.Path = strings.TrimSuffix(public.Path, "/sse")
	}
	at := t.host(0, public, upstream, true)
	t.carryText("name", at+".displayName")
	t.doc.set(at+".ownTokens", false, "tokens and keys come from elsewhere, as before; take this away, and add provider, for clients that are to sign in here")
	oauth, keys := t.begins(frameworkOAuth), t.begins(frameworkKeys)
	switch {
	case oauth && keys:
		t.mistake("", "auth.provider.APIKeyAuthProvider: stands beside auth.provider.OAuthAuthProvider; keep one")
	case oauth:
		t.frameworkIssuer(at, uri(public, upstream))
	case keys:
		t.frameworkAPIKeys(at)
	case t.begins(frameworkJWT), t.begins(frameworkSATP): // said of the options themselves
	default:
		t.mistake("", "there is no authentication in the options: write the provider as auth: {\"provider\": {\"OAuthAuthProvider\": {…}}}")
	}
	t.frameworkOrigins(at)
	if upstream.Port() == "8080" && loopback(upstream.Hostname()) && !t.request.Chart {
		t.doc.set("listen.http", ":8081", "the MCP server stays at 8080")
	}
	if strings.HasSuffix(upstream.Path, "/sse") {
		t.raw("auth.endpoints")
		t.unsafe("auth.endpoints", "the stream of HTTP+SSE was open to all by default; every request is asked for a token here")
	}
}

// begins reports whether an option is given whose name begins with prefix.
func (t *translation) begins(prefix string) bool {
	for path := range t.values {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// frameworkUpstream is where the MCP server listens.
func (t *translation) frameworkUpstream() *url.URL {
	path := t.text("options.endpoint")
	switch kind := t.text("transport.type"); kind {
	case "http-stream", "":
		if path == "" {
			path = "/mcp"
		}
	case "sse":
		if path == "" {
			path = "/sse"
		}
	case "stdio":
		t.mistake("transport.type", `"stdio" has no authentication there; start the server with mcp-forward-auth bridge, and write "http-stream"`)
	default:
		t.mistake("transport.type", "%q is not one of stdio, sse, http-stream", kind)
	}
	port, host := t.text("options.port"), t.text("options.host")
	if port == "" {
		port = "8080"
	}
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	return t.upstream("options.host", "http://"+net.JoinHostPort(host, port)+path)
}

// frameworkIssuer writes the authorization server of OAuthAuthProvider down.
func (t *translation) frameworkIssuer(at, resource string) {
	v := frameworkOAuth + "validation."
	issuer := t.text(v + "issuer")
	servers := t.list(frameworkOAuth + "authorizationServers")
	if issuer == "" {
		t.mistake("", "%sissuer is required", v)
	}
	for _, s := range servers {
		if s != issuer {
			t.lost(frameworkOAuth+"authorizationServers", "only the issuer whose tokens are taken is shown to clients")
		}
	}
	server := at + ".authorizationServers.0"
	t.carry(v+"issuer", server+".issuer", issuer)
	if audience := t.text(v + "audience"); audience != "" {
		t.carry(v+"audience", server+".audiences", []string{audience})
	} else {
		t.unsafe(v+"audience", "there was none, so that a token for any other server was good; here tokens must be for "+resource)
	}
	t.doc.set(server+".addScopes", []string{"mcp"}, "a token opened every tool; the scope mcp stands for those of a server that declares no scopes")
	switch kind := t.text(v + "type"); kind {
	case "jwt":
		if !t.has(v + "jwksUri") {
			t.mistake("", "%sjwksUri is required beside type jwt", v)
		}
		t.carryText(v+"jwksUri", server+".jwksURL")
		t.carryList(v+"algorithms", server+".algorithms")
	case "introspection":
		in := v + "introspection."
		for _, name := range []string{"endpoint", "clientId", "clientSecret"} {
			if !t.has(in + name) {
				t.mistake("", "%s%s is required beside type introspection", in, name)
			}
		}
		t.carryText(in+"endpoint", server+".introspection.endpoint")
		t.doc.set(server+".introspection.tokens", "all", "all tokens were asked about, JWTs too")
		t.carryText(in+"clientId", server+".introspection.clientID")
		t.secretOf(in+"clientSecret", server+".introspection.clientSecretFile", "introspection-secret")
		if ms := t.number(in + "cacheTTL"); ms > 0 {
			t.carry(in+"cacheTTL", server+".introspection.cache", min(time.Duration(ms)*time.Millisecond, 30*time.Second).String())
		}
		t.unsafe(v+"audience", "introspected tokens for other servers were good, since their audience was not looked at; it is here")
	default:
		t.mistake(v+"type", "must be jwt or introspection")
	}
}

// frameworkAPIKeys makes a key of this service for each of the framework's.
func (t *translation) frameworkAPIKeys(at string) {
	header := t.text(frameworkKeys + "headerName")
	if header == "" {
		header = "X-API-Key"
	}
	t.doc.set(at+".apiKeys.enabled", true)
	t.doc.set(at+".apiKeys.header", header, "beside the header Authorization, which takes Bearer KEY")
	old := t.list(frameworkKeys + "keys")
	if len(old) == 0 {
		t.mistake("", "%skeys is required", frameworkKeys)
	}
	for i := range old {
		key, hash := apikey.NewKey()
		entry, name := fmt.Sprintf("apiKeys.keys.%d", i), fmt.Sprintf("migrated-%d", i+1)
		comment := ""
		if i == 0 {
			comment = t.said(frameworkKeys + "keys")
		}
		t.doc.set(entry+".name", name, comment)
		t.doc.set(entry+".hashes", []string{hash})
		t.doc.set(entry+".scopes", []string{"mcp"})
		t.doc.set(entry+".expires", time.Now().UTC().AddDate(0, 0, 90).Format(time.DateOnly))
		t.result.Secrets = append(t.result.Secrets, newAPIKey(t.request, name, key))
	}
	t.unsafe(frameworkKeys+"keys", "they stood in the clear in the options, and in addresses and logs; hand out the new ones, which are in files of their own")
}

// frameworkOrigins says which web pages may use the MCP server.
func (t *translation) frameworkOrigins(at string) {
	origins := t.list("options.cors.allowedOrigins")
	one := t.text("options.cors.allowOrigin")
	switch {
	case len(origins) > 0:
		t.doc.set(at+".cors.allowedOrigins", origins)
	case one == "*":
		t.unsafe("options.cors.allowOrigin", "web pages of every origin could send requests; here none until cors.allowedOrigins names them")
	case one != "":
		t.doc.set(at+".cors.allowedOrigins", []string{one})
	}
}
