package config

import (
	"net/http"
	"slices"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/gatewatch"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/grant"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/kuadrant"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/outbound"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/provider"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// resolver turns a File into a Config: it fills in defaults, compiles patterns,
// reads secrets and collects every value that breaks a rule.
type resolver struct {
	*conf.Check
}

// section is the part of the document at a key of the root.
func (r *resolver) section(key string) conf.Section { return conf.Section{Check: r.Check, At: key} }

func (r *resolver) resolve(f File) *Config {
	f.Listen.Resolve(r.section("listen"))
	f.Egress.Resolve(r.section("egress"))
	f.Keys.Resolve(r.section("keys"))
	f.Tokens.Resolve(r.section("tokens"))
	f.Limits.Resolve(r.section("limits"), len(f.Listen.TrustedProxies) > 0)
	f.Guard.resolve(r.section("guard"))
	f.Tracing.Resolve(r.section("tracing"))
	f.Branding.Resolve(r.section("branding"))
	f.IdentityHeaders.Resolve(r.section("identityHeaders"))
	public := slices.ContainsFunc(f.Proxy.Hosts, func(h HostFile) bool { return h.Scheme != "http" })
	f.Registration.MetadataDocuments.Resolve(r.section("registration").Sub("metadataDocuments"), public && !r.IsMalformed("proxy.hosts"))
	c := &Config{
		Listen:          f.Listen,
		Providers:       r.providers(f),
		Hosts:           r.hosts(f.Proxy.Hosts, len(f.Proxy.HostsFiles) > 0),
		ConsentScreen:   !f.Proxy.DisableConsentScreen,
		RedirectURLs:    r.redirectURLs(f.Proxy),
		RedirectSchemes: r.redirectSchemes(f.Proxy),
		Registration:    f.Registration,
		Egress:          f.Egress,
		Clients:         f.Clients,
		Keys:            f.Keys,
		Tokens:          f.Tokens,
		Limits:          f.Limits,
		Guard:           f.Guard,
		DPoP:            f.DPoP,
		Introspection:   f.Introspection.Enabled,
		Pushed:          f.Pushed,
		DenyList:        r.denyList(f.DenyList),
		AuditFile:       r.Path(f.Audit.File),
		Tracing:         f.Tracing,
		DebugFlows:      f.Debug.Flows.Enabled,
		Branding:        f.Branding,
		IdentityHeaders: f.IdentityHeaders,
	}
	r.pushed(f)
	r.hostsFiles(f.Proxy.HostsFiles)
	c.GateWatch = r.gateWatch(f.GateWatch, c.Hosts)
	r.besides(f, c)
	_ = c.LogLevel.UnmarshalText([]byte(f.Logging.Level)) // the words of the enum are slog's
	c.CallbackHost = r.callbackHost(f.Proxy.CallbackHost, c.Hosts)
	f.TLS.Resolve(r.section("tls"), c.SecureHosts())
	c.TLS = f.TLS
	r.authorizationServers(f.Proxy.Hosts, c)
	r.dpop(c)
	r.trustedIssuers(f.TrustedIssuers, c)
	r.reserve(c)
	r.clients(c)
	c.APIKeys = r.apiKeys(f, c)
	r.providerTokens(c)
	r.tokenExchanges(c)
	r.people(f, c)
	r.policies(f, c)
	r.devices(f, c)
	r.unused(f, c)
	c.Warnings = r.Warnings
	return c
}

// pushed checks the section pushedRequests.
func (r *resolver) pushed(f File) {
	if f.Pushed.Required && !f.Pushed.Enabled {
		r.Add("pushedRequests.required", "needs pushedRequests.enabled: no client could sign anyone in")
	}
}

// gateWatch resolves the section, which names some of the hosts.
func (r *resolver) gateWatch(f gatewatch.File, hosts []resource.Entry) gatewatch.Config {
	names := make([]string, 0, len(hosts))
	for _, h := range hosts {
		names = append(names, h.Host)
	}
	return f.Resolve(conf.Section{Check: r.Check, At: "gateWatch"}, names)
}

// clients checks the clients beside what they may name.
func (r *resolver) clients(c *Config) {
	s := registration.Surroundings{
		Grants: grant.Types(grant.All(), nil), SignIn: grant.Types(grant.All(), grant.SignIn), Configured: grant.Types(grant.All(), grant.Configured), Introspection: c.Introspection, Pushed: c.Pushed.Enabled,
	}
	s.Resources = c.resources()
	for _, h := range c.Hosts {
		s.DPoP = append(s.DPoP, h.DPoP.Accepts() && !h.OwnTokensOff)
	}
	registration.ResolveClients(r.Check, c.Clients, s)
}

// devices warns of device sign-ins that several replicas would lose: the guard has what
// a device waits for.
func (r *resolver) devices(f File, c *Config) {
	for i, h := range c.Hosts {
		if h.DeviceGrant && f.Guard.Backend == "memory" {
			r.Warn(conf.Element("proxy.hosts", i)+".deviceGrant", "works with one replica alone while guard.backend is \"memory\": a device that asks another replica than the person answered at is told that its code has expired, and so is every device after a restart; see docs/replicas.md")
			return
		}
	}
}

// unused notes for each provider what of a person nothing makes use of.
func (r *resolver) unused(f File, c *Config) {
	named := c.IdentityHeaders.Name != "" || c.IdentityHeaders.JWT != ""
	grouped := false
	for _, h := range c.Hosts {
		grouped = grouped || slices.ContainsFunc(h.Policy, func(r rule.Rule) bool { return len(r.Groups) > 0 })
	}
	for i := range c.Providers {
		at := r.section("provider")
		if len(f.Providers) > 0 {
			at = r.section(conf.Element("providers", i))
		}
		c.Providers[i].Unused = connector.Properties{
			Name:   !named && !at.IsSet(at.Key("nameClaim")),
			Groups: !grouped && !at.IsSet(at.Key("groupsClaim")) && !at.IsSet(at.Key("groupsFilter")) && !asks(c.Providers[i], "groups"),
		}
	}
}

// asks reports whether a provider is asked for a scope.
func asks(p connector.Config, scope string) bool {
	app, ok := p.Settings.(interface{ Asks(string) bool })
	return ok && app.Asks(scope)
}

// besides resolves what MCP servers and gateways get or tell beside the usual.
func (r *resolver) besides(f File, c *Config) {
	r.overGRPC(f)
	c.Kuadrant = r.kuadrant(f.Proxy.Hosts)
	c.ServerCredentials = r.serverCredentials(f.Proxy.Hosts, c)
}

// kuadrant resolves what Kuadrant's MCP gateway gets, for each host.
func (r *resolver) kuadrant(files []HostFile) []kuadrant.Settings {
	out := make([]kuadrant.Settings, len(files))
	for i, f := range files {
		at := conf.Element("proxy.hosts", i)
		out[i] = f.Kuadrant.Resolve(conf.Section{Check: r.Check, At: at + ".kuadrant"})
		if f.Serve.Enabled && f.Kuadrant.SigningKeyFile != "" {
			r.Add(at+".kuadrant", "has no use beside serve, which filters lists itself; remove one of the two")
		}
	}
	return out
}

// serverCredentials resolves what MCP servers are shown, for each host. The tools at one
// endpoint are listed with one credential.
func (r *resolver) serverCredentials(files []HostFile, c *Config) []*outbound.Credential {
	out, firsts := make([]*outbound.Credential, len(files)), map[string]int{}
	for i, f := range files {
		at := conf.Element("proxy.hosts", i)
		taken := append(c.IdentityHeaders.Names(), kuadrant.Header, http.CanonicalHeaderKey(f.APIKeys.Header))
		if i < len(c.Hosts) {
			taken = append(taken, c.Hosts[i].ProviderToken.Names()...)
		}
		out[i] = f.ServerCredential.Resolve(conf.Section{Check: r.Check, At: at + ".serverCredential"}, f.Serve.Enabled, taken)
		first, seen := firsts[f.Endpoint]
		if !seen {
			firsts[f.Endpoint] = i
			continue
		}
		a, b := f.ServerCredential, files[first].ServerCredential
		if a.File != b.File || a.Header != b.Header || a.Scheme != b.Scheme {
			r.Add(at+".serverCredential", "is another than that of proxy.hosts[%d], which has the same endpoint; the tools there are listed with one", first)
		}
	}
	return out
}

// overGRPC refuses to rely on what cannot arrive: what gateways know of messages
// they tell over gRPC alone.
func (r *resolver) overGRPC(f File) {
	if f.Listen.GRPC != "" {
		return
	}
	for i, h := range f.Proxy.Hosts {
		at := conf.Element("proxy.hosts", i)
		if h.EnvoyMCP {
			r.Add(at+".envoyMCP", "needs listen.grpc, because Envoy says over gRPC alone what its MCP filter read")
		}
		if h.ExtMCP {
			r.Add(at+".extMCP", "needs listen.grpc, because agentgateway asks about messages over gRPC")
		}
	}
}

// people resolves what is about people rather than apps.
func (r *resolver) people(f File, c *Config) {
	f.BrowserSessions.Resolve(r.section("browserSessions"))
	f.Operators.Resolve(r.section("operators"))
	c.BrowserSessions, c.PersonalKeys, c.Operators = f.BrowserSessions, f.PersonalKeys, f.Operators
	r.personalKeys(c)
	c.SecurityEvents = f.SecurityEvents.Resolve(r.section("securityEvents"), namespaces(c.Providers))
}

// namespaces are how the full subjects of each provider's people begin.
func namespaces(providers []connector.Config) map[string]string {
	out := map[string]string{}
	for _, p := range providers {
		if p.Settings != nil {
			out[p.PolicyID()] = provider.Prefix(p) + p.Settings.Namespace()
		}
	}
	return out
}

// denyList checks only that there is a file; what is in it may change at any time.
func (r *resolver) denyList(f DenyListFile) string {
	if f.File == "" {
		return ""
	}
	r.Exists("denyList.file", f.File)
	return r.Path(f.File)
}

// dpop refuses what could have no effect.
func (r *resolver) dpop(c *Config) {
	binds := false
	for i, h := range c.Hosts {
		binds = binds || h.DPoP.Accepts()
		if h.DPoP.Accepts() && h.OwnTokensOff && len(h.Issuers) == 0 {
			r.Add(conf.Element("proxy.hosts", i)+".dpop", "has no effect, because the MCP server takes no tokens; remove it")
		}
	}
	for _, key := range []string{"dpop.nonces", "dpop.nonceLifetime"} {
		if r.IsSet(key) && !binds {
			r.Add(key, "has no effect, because no entry of proxy.hosts has dpop; remove it, or set dpop there")
		}
	}
	if r.IsSet("dpop.nonceLifetime") && !c.DPoP.Nonces {
		r.Add("dpop.nonceLifetime", "has no effect while dpop.nonces is false")
	}
}
