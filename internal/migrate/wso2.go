package migrate

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

func wso2() Kind {
	meta := "protected_resource_metadata."
	return Kind{
		Name: "wso2", Title: "WSO2 open-mcp-auth-proxy", Home: "https://github.com/wso2/open-mcp-auth-proxy", Version: "of September 2025 (017a3f3), the last one",
		Reads: "its `config.yaml`", read: readWSO2, translate: fromWSO2,
		About: "Its README writes the keys of `protected_resource_metadata` at the top of the file, where the program did not read them; both places are read here. The flags `--demo`, `--asgardeo` and `--stdio` chose between sections of one file: here the section `protected_resource_metadata` decides, then `default`, and `transport_mode: stdio` or `stdio.enabled` makes it stdio. For `--demo` there is `mcp-forward-auth demo`.",
		Options: []Option{
			{Name: "proxy_base_url", Becomes: "proxy.hosts[].host"},
			{Name: "listen_port", Becomes: "listen.http"},
			{Name: "base_url", Becomes: "proxy.hosts[].endpoint"},
			{Name: "port", Becomes: "proxy.hosts[].endpoint", Note: "the port of the MCP server, where base_url does not say where it is"},
			{Name: "timeout_seconds", Note: "an answer may take any time here; one that is silent for serve.idleTimeout is cut off"},
			{Name: "paths.sse", Becomes: "proxy.hosts[].endpoint"},
			{Name: "paths.messages", Note: "the MCP server says where messages go, and this service replaces the address"},
			{Name: "paths.streamable_http", Becomes: "proxy.hosts[].endpoint"},
			{Name: "transport_mode", Becomes: "proxy.hosts[].endpoint"},
			{Name: "mode", Note: "the program overwrote it"},
			{Name: "stdio.enabled", Becomes: "mcp-forward-auth bridge"},
			{Name: "stdio.user_command", Becomes: "mcp-forward-auth bridge -- COMMAND"},
			{Name: "stdio.work_dir", Becomes: "mcp-forward-auth bridge --dir"},
			{Name: "stdio.args", Note: "the program did not pass them on"},
			{Name: "stdio.env", Becomes: "mcp-forward-auth bridge --env", Secret: true, Note: "in a file of its own, for the environment of the bridge"},
			{Name: "path_mapping", Note: "nothing of the authorization server is relayed here: clients find it by its metadata"},
			{Name: "cors.allowed_origins", Becomes: "proxy.hosts[].cors.allowedOrigins"},
			{Name: "cors.allowed_methods", Note: "those of MCP are allowed"},
			{Name: "cors.allowed_headers", Note: "those of MCP are allowed"},
			{Name: "cors.allow_credentials", Note: "never: tokens come in the header Authorization, and cookies count for nothing"},
			{Name: "demo.org_name", Note: "the sandbox of the demo; `mcp-forward-auth demo` needs none"},
			{Name: "demo.client_id", Note: "the sandbox of the demo; `mcp-forward-auth demo` needs none"},
			{Name: "demo.client_secret", Secret: true, Note: "the sandbox of the demo; `mcp-forward-auth demo` needs none"},
			{Name: "asgardeo.org_name", Becomes: "proxy.hosts[].authorizationServers[].issuer", Note: "the issuer of the organization, where protected_resource_metadata names none"},
			{Name: "asgardeo.client_id", Note: "it registered clients at Asgardeo with rights over all applications. Clients register with this service where ownTokens is on; see docs/providers/asgardeo.md"},
			{Name: "asgardeo.client_secret", Secret: true, Note: "it registered clients at Asgardeo with rights over all applications. Clients register with this service where ownTokens is on; see docs/providers/asgardeo.md"},
			{Name: "default.base_url", Becomes: "proxy.hosts[].authorizationServers[].issuer", Note: "where neither protected_resource_metadata nor default.path names the issuer"},
			{Name: "default.jwks_url", Becomes: "proxy.hosts[].authorizationServers[].jwksURL", Note: "where nothing else names the keys"},
			{Name: "default.path", Becomes: "proxy.hosts[].authorizationServers[].issuer", Note: "issuer and jwks_uri of the answer that it made up are carried over; parameters that it added to requests are not, since clients talk to the authorization server themselves"},
			{Name: meta + "resource_identifier", Becomes: "proxy.hosts[].host"},
			{Name: meta + "audience", Becomes: "proxy.hosts[].authorizationServers[].audiences", Note: "besides, tokens for the MCP server's own URL are accepted only if it is named here too"},
			{Name: meta + "scopes_supported", Becomes: "proxy.hosts[].scopes", Note: "a scope for a tool, a resource or a prompt; a scope for another method has no counterpart"},
			{Name: meta + "authorization_servers", Becomes: "proxy.hosts[].authorizationServers[].issuer", Note: "compared with iss of each token, at which the proxy did not look: write the issuer exactly as tokens have it"},
			{Name: meta + "jwks_uri", Becomes: "proxy.hosts[].authorizationServers[].jwksURL"},
			{Name: meta + "bearer_methods_supported", Note: "tokens come in the header Authorization alone: in bodies and addresses they end in logs"},
		},
	}
}

// readWSO2 reads config.yaml, in which some keys may stand in two places.
func readWSO2(g *given, f File) {
	inner := &given{options: g.options, values: map[string]value{}}
	// The keys at the top are declared for this file alone, so that others stay unknown.
	for _, key := range []string{"resource_identifier", "audience", "scopes_supported", "authorization_servers", "jwks_uri", "bearer_methods_supported"} {
		inner.options = append(inner.options, Option{Name: key})
	}
	readYAML(inner, f)
	g.mistakes = append(g.mistakes, inner.mistakes...)
	for _, path := range inner.order {
		at := path
		if _, known := g.option(path); !known {
			at = "protected_resource_metadata." + path
		}
		g.set(f.Name, at, inner.values[path].of)
	}
}

func fromWSO2(t *translation) {
	const meta = "protected_resource_metadata."
	base := t.text("proxy_base_url")
	if id := t.text(meta + "resource_identifier"); id != "" {
		base = id
	}
	if port := t.text("listen_port"); base == "" && t.request.URL == "" && port != "" {
		base = "http://localhost:" + port
	}
	if t.request.URL == "" {
		t.request.URL = base
	}
	public := t.public("")
	upstream := t.wso2Upstream()
	if strings.HasSuffix(upstream.Path, "/sse") {
		public.Path = strings.TrimSuffix(public.Path, "/sse")
	}
	at := t.host(0, public, upstream, true)
	t.doc.set(at+".ownTokens", false, "the authorization server issues the tokens, as before; take this away, and add provider, for clients that cannot register there")
	t.wso2Issuer(at, uri(public, upstream))
	t.wso2Scopes(at)
	if origins := t.list("cors.allowed_origins"); len(origins) > 0 {
		t.carry("cors.allowed_origins", at+".cors.allowedOrigins", origins)
	}
	if port := t.number("listen_port"); port > 0 && !t.request.Chart {
		t.doc.set("listen.http", fmt.Sprintf(":%d", port))
	}
	t.unsafe("tokens", "one for another audience was taken of clients of MCP 2025-03-26 and older, and no token's issuer was looked at; both are checked here for all clients")
}

// wso2Upstream is the URL of the MCP server, by the transport.
func (t *translation) wso2Upstream() *url.URL {
	base := t.text("base_url")
	if base == "" {
		port := t.number("port")
		if port == 0 {
			port = 8000
		}
		base = fmt.Sprintf("http://localhost:%d", port)
	}
	path := t.text("paths.sse")
	if path == "" {
		path = "/sse"
	}
	streamable := t.text("paths.streamable_http")
	mode, stdio := t.text("transport_mode"), t.on("stdio.enabled")
	command := t.text("stdio.user_command")
	switch {
	case mode != "" && mode != "sse" && mode != "stdio" && mode != "streamable_http":
		t.mistake("transport_mode", "%q is not one of sse, stdio, streamable_http", mode)
	case mode == "stdio" && !stdio:
		t.mistake("transport_mode", "is stdio, and stdio.enabled is not true")
	case stdio && command == "":
		t.mistake("stdio.enabled", "needs stdio.user_command")
	case stdio:
		return t.stdio("stdio.user_command", command, t.text("stdio.work_dir"), "stdio.env", t.lines("stdio.env"))
	case mode == "streamable_http":
		if path = streamable; path == "" {
			path = "/mcp"
		}
	}
	if command != "" {
		t.lost("stdio.user_command", "stdio is not enabled")
	}
	u := t.upstream("base_url", base)
	return joined(u, path)
}

// asgardeo is the address of an organization at Asgardeo, which is not its issuer.
var asgardeo = regexp.MustCompile(`^https://api\.asgardeo\.io/t/[^/]+/?$`)

// wso2Issuer writes the authorization server down.
func (t *translation) wso2Issuer(at, resource string) {
	const meta = "protected_resource_metadata."
	issuer, option := "", meta+"authorization_servers"
	if all := t.list(option); len(all) > 0 {
		issuer = all[0]
		if len(all) > 1 {
			t.lost(option, "the proxy used the first alone; more of them are more entries of authorizationServers, each with its keys")
		}
	}
	keys := t.text(meta + "jwks_uri")
	if issuer == "" {
		answer := t.wso2Answer()
		issuer, option = answer["issuer"], "default.path"
		if keys == "" {
			keys = answer["jwks_uri"]
		}
	}
	if issuer == "" {
		issuer, option = t.text("default.base_url"), "default.base_url"
	}
	if keys == "" {
		keys = t.text("default.jwks_url")
	}
	if org := t.text("asgardeo.org_name"); issuer == "" && org != "" {
		issuer, option = "https://api.asgardeo.io/t/"+url.PathEscape(org)+"/oauth2/token", "asgardeo.org_name"
	}
	if issuer == "" {
		t.mistake("", "no authorization server is named, in authorization_servers or in default; --demo used a sandbox, for which there is mcp-forward-auth demo")
		return
	}
	server := at + ".authorizationServers.0"
	if asgardeo.MatchString(issuer) {
		t.doc.set(server+".issuer", strings.TrimSuffix(issuer, "/")+"/oauth2/token", option+": Asgardeo's tokens have this longer address in iss, which the proxy did not look at")
	} else {
		t.carry(option, server+".issuer", issuer)
	}
	if keys != "" {
		t.doc.set(server+".jwksURL", keys)
	}
	if audience := t.text(meta + "audience"); audience != "" {
		t.carry(meta+"audience", server+".audiences", []string{audience})
	} else {
		t.unsafe(meta+"audience", "there was none, so that a token for any other server was good; here tokens must be for "+resource)
	}
	t.doc.set(server+".addScopes", []string{"mcp"}, "a token opened every tool that no scope guards; the scope mcp stands for those of a server that declares no scopes")
}

// wso2Answer is what the proxy answered as the authorization server's metadata.
func (t *translation) wso2Answer() map[string]string {
	out := map[string]string{}
	paths, _ := t.raw("default.path").(map[string]any)
	well, _ := paths["/.well-known/oauth-authorization-server"].(map[string]any)
	answer, _ := well["response"].(map[string]any)
	for _, name := range []string{"issuer", "jwks_uri"} {
		if text, ok := answer[name].(string); ok {
			out[name] = text
		}
	}
	return out
}

// wso2Scopes translates the scopes that methods and tools need.
func (t *translation) wso2Scopes(at string) {
	const option = "protected_resource_metadata.scopes_supported"
	given := t.raw(option)
	if given == nil {
		return
	}
	entries, ok := given.([]any)
	if !ok {
		t.mistake(option, "must be a list")
		return
	}
	opens := map[string]map[string][]string{} // scope → what it opens: tools, resources or prompts
	for _, e := range entries {
		switch e := e.(type) {
		case string:
			t.lost(option, fmt.Sprintf("%q is a name without a method, of which the proxy made no use", e))
		case map[string]any:
			for _, method := range sortedKeys(e) {
				t.wso2Method(option, method, e[method], opens)
			}
		default:
			t.mistake(option, "each entry must be a method with its scope")
		}
	}
	for i, scope := range sortedKeys(opens) {
		key := fmt.Sprintf("%s.scopes.%d", at, i)
		comment := ""
		if i == 0 {
			comment = t.said(option)
		}
		t.doc.set(key+".name", scope, comment)
		for _, what := range sortedKeys(opens[scope]) {
			t.doc.set(key+"."+what, opens[scope][what])
		}
	}
}

// wso2Method notes what a method's entry guards.
func (t *translation) wso2Method(option, method string, scope any, opens map[string]map[string][]string) {
	what := map[string]string{"tools/call": "tools", "resources/read": "resources", "prompts/get": "prompts"}[method]
	if what == "" {
		t.lost(option, fmt.Sprintf("a scope for %s: it shows and does nothing that scopes guard, and lists hold what may be used", strconv.Quote(method)))
		return
	}
	add := func(scope, name string) {
		if opens[scope] == nil {
			opens[scope] = map[string][]string{}
		}
		opens[scope][what] = append(opens[scope][what], name)
	}
	switch scope := scope.(type) {
	case string:
		add(scope, "*")
	case []any:
		for _, entry := range scope {
			named, ok := entry.(map[string]any)
			if !ok {
				t.mistake(option, "under %s each entry must be a name with its scope", method)
				continue
			}
			for _, name := range sortedKeys(named) {
				one := named[name]
				if several, is := one.([]any); is && len(several) == 1 {
					one = several[0]
				}
				if text, ok := one.(string); ok && text != "" {
					add(text, name)
				} else {
					t.mistake(option, "%s of %s needs several scopes at once; here any scope that names a tool opens it. Leave one of them", name, method)
				}
			}
		}
	default:
		t.mistake(option, "under %s there must be a scope, or names with their scopes", method)
	}
}
