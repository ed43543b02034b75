package migrate

import (
	"fmt"
	"net/url"
	"strings"
)

func mcpOAuth2Proxy() Kind {
	k := Kind{
		Name: "mcp-oauth2-proxy", Title: "mcp-oauth2-proxy", Home: "https://github.com/matheuscscp/mcp-oauth2-proxy", Version: "of November 2025 (0045a76)",
		Reads: "the values of its chart or its config.yaml, in YAML", read: readYAML, translate: fromMCPOAuth2Proxy,
		About: "It asked at `/authenticate` as this service does, so the Ingress stays but for the parameter: `…/authenticate?host=$host` for ingress-nginx. The redirect URI at the identity provider, `https://HOST/callback`, stays.",
		Options: []Option{
			{Name: "provider.name", Becomes: "provider.name"},
			{Name: "provider.clientID", Becomes: "provider.clientID"},
			{Name: "provider.clientSecret", Becomes: "provider.clientSecretFile", Secret: true},
			{Name: "provider.organization", Becomes: "provider.allowedOrganizations", Note: "members of the organization are asked for with the person's own token (scope read:org); the private key of the GitHub App is not needed"},
			{Name: "provider.allowedEmailDomains", Becomes: "provider.allowedEmailDomains", Restricts: true, Note: `the patterns are over the whole domain here. There a pattern without ^ and $ also matched a part of it, such as example.com in example.com.attacker.net`},
			{Name: "proxy.hosts[].host", Becomes: "proxy.hosts[].host"},
			{Name: "proxy.hosts[].endpoint", Becomes: "proxy.hosts[].endpoint"},
			{Name: "proxy.disableConsentScreen", Becomes: "proxy.disableConsentScreen", Note: "only beside allowedRedirectURLs that spell out their hosts: without a consent page an open list gives tokens away"},
			{Name: "proxy.allowedRedirectURLs", Becomes: "proxy.allowedRedirectURLs", Restricts: true, Note: "the patterns are over the whole URL here; there one without ^ and $ also matched a part of it"},
			{Name: "proxy.cors", Becomes: "proxy.hosts[].cors.allowedOrigins", Note: "it let every web page in; name the pages that may use the MCP server"},
			{Name: "server.addr", Becomes: "listen.http"},
			{Name: "logging.level", Becomes: "logging.level", Note: `the levels here are "debug", "info", "warn" and "error"`},
			{Name: "image", Note: "this service has an image of its own"},
			{Name: "livenessProbe", Note: "the probes are at the management listener here"},
			{Name: "readinessProbe", Note: "the probes are at the management listener here"},
			{Name: "env", Note: "GOOGLE_APPLICATION_CREDENTIALS becomes provider.workspace; GITHUB_APP_PRIVATE_KEY is not needed; other variables have no effect", Becomes: "provider.workspace"},
			{Name: "volumes", Note: "files that provider.workspace or another key names are mounted with existingSecrets.files"},
			{Name: "volumeMounts", Note: "files that provider.workspace or another key names are mounted with existingSecrets.files"},
			{Name: "podMonitor.port", Note: "metrics are at the management listener here"},
		},
	}
	for _, key := range []string{
		"imagePullSecrets", "nameOverride", "fullnameOverride", "serviceAccount.create", "serviceAccount.automount", "serviceAccount.annotations", "serviceAccount.name",
		"podAnnotations", "podLabels", "podSecurityContext", "securityContext", "service.type", "service.port", "ingress.enabled", "ingress.className", "ingress.annotations",
		"ingress.tls", "resources", "nodeSelector", "tolerations", "affinity", "networkPolicy.create", "networkPolicy.ingress.namespaces",
		"podMonitor.enabled", "podMonitor.path", "podMonitor.interval", "podMonitor.scrapeTimeout", "podMonitor.scheme", "podMonitor.honorLabels", "podMonitor.honorTimestamps",
		"podMonitor.labels", "podMonitor.annotations", "podMonitor.metricRelabelings", "podMonitor.relabelings", "podMonitor.namespaceSelector",
	} {
		k.Options = append(k.Options, Option{Name: key, Becomes: key, Chart: true})
	}
	return k
}

func fromMCPOAuth2Proxy(t *translation) {
	name := t.text("provider.name")
	switch name {
	case "google", "github":
		t.doc.set("provider.name", name)
	case "":
		t.mistake("", "provider.name is required")
	default:
		t.mistake("provider.name", "%q is not a provider of mcp-oauth2-proxy; it has google and github", name)
	}
	for _, required := range []string{"provider.clientID", "provider.clientSecret"} {
		if !t.has(required) {
			t.mistake("", "%s is required", required)
		}
	}
	t.carryText("provider.clientID", "provider.clientID")
	t.secretOf("provider.clientSecret", "provider.clientSecretFile", "client-secret")
	if org := t.text("provider.organization"); org != "" {
		t.carry("provider.organization", "provider.allowedOrganizations", []string{org})
	}
	if !t.doc.has("provider.allowedOrganizations") || len(t.list("provider.allowedEmailDomains")) > 0 {
		t.domains("provider", t.patterns("provider.allowedEmailDomains"), "provider.allowedEmailDomains", "every account of "+name+" could sign in")
	}
	t.mcpOAuth2ProxyHosts()
	t.carryText("server.addr", "listen.http")
	if level := t.text("logging.level"); level != "" {
		here, ok := map[string]string{"trace": "debug", "debug": "debug", "info": "info", "warn": "warn", "warning": "warn", "error": "error", "fatal": "error", "panic": "error"}[strings.ToLower(level)]
		if !ok {
			t.mistake("logging.level", "%q is not a level", level)
		}
		if here != level {
			t.carry("logging.level", "logging.level", here)
		} else {
			t.doc.set("logging.level", here)
		}
	}
}

func (t *translation) mcpOAuth2ProxyHosts() {
	if t.count("proxy.hosts") == 0 {
		t.mistake("", "proxy.hosts is empty: there is nothing to protect")
	}
	origins := t.on("proxy.cors")
	for i := range t.count("proxy.hosts") {
		at := fmt.Sprintf("proxy.hosts[%d]", i)
		host := t.text(at + ".host")
		if host == "" {
			t.mistake("", "%s.host is required", at)
		}
		public, endpoint := &url.URL{Scheme: "https", Host: host}, t.text(at+".endpoint")
		if endpoint == "" && t.request.Server == "" {
			t.mistake("", "%s.endpoint is needed here, for it says which tools there are; write it there, or give --server", at)
			continue
		}
		key := t.host(i, public, t.upstream(at+".endpoint", endpoint), false)
		if origins {
			t.carry("proxy.cors", key+".cors.allowedOrigins", []string{"https://" + host})
		}
	}
	if origins {
		t.unsafe("proxy.cors", "web pages of every origin could use the MCP servers; here those of the host itself, until more are named")
	}
	redirects := t.patterns("proxy.allowedRedirectURLs")
	if len(redirects) > 0 {
		t.carry("proxy.allowedRedirectURLs", "proxy.allowedRedirectURLs", redirects)
	}
	switch consent := t.on("proxy.disableConsentScreen"); {
	case consent && len(redirects) == 0:
		t.unsafe("proxy.disableConsentScreen", "tokens went to any client that asked, without a question; the consent page is on here")
		t.lost("proxy.disableConsentScreen", "needs allowedRedirectURLs")
	case consent:
		t.doc.set("proxy.disableConsentScreen", true)
	}
}

// patterns are regular expressions, one a list entry. A comma in one is part of it.
func (t *translation) patterns(option string) []string {
	var out []string
	switch v := t.raw(option).(type) {
	case nil:
	case []any:
		for _, e := range v {
			if text, ok := e.(string); ok && text != "" {
				out = append(out, text)
			} else {
				t.mistake(option, "must be a list of patterns")
			}
		}
	default:
		t.mistake(option, "must be a list of patterns")
	}
	return out
}
