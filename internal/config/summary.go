package config

import (
	"cmp"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// Setting is one line of what a configuration means.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// serverSetting is the name of the lines with MCP servers, which follow their number.
const serverSetting = "MCP server"

// Summary is Settings as text.
func (c *Config) Summary() string {
	var b strings.Builder
	for _, s := range c.Settings() {
		if s.Name == serverSetting {
			fmt.Fprintf(&b, "  %s\n", s.Value)
			continue
		}
		fmt.Fprintf(&b, "%-22s%s\n", s.Name, s.Value)
	}
	return b.String()
}

// Settings describe the configuration for the operator who has just checked
// it: what is protected, by what, and what is left open. They hold no secret.
func (c *Config) Settings() (all []Setting) {
	line := func(name, format string, args ...any) {
		all = append(all, Setting{name, fmt.Sprintf(format, args...)})
	}
	line("protocol listener", "%s", c.Listen.HTTP)
	switch {
	case c.TLS.ACME.Enabled:
		line("TLS", "certificates from %s, kept in %s", c.TLS.ACME.DirectoryURL, c.TLS.ACME.CacheDir)
	case c.TLS.Enabled():
		line("TLS", "%d certificates from files", len(c.TLS.Files))
	}
	line("management listener", "%s (never expose it)", c.Listen.Management)
	if c.Listen.GRPC != "" {
		line("gRPC listener", "%s (for gateways only)", c.Listen.GRPC)
	}
	line("log level", "%s", strings.ToLower(c.LogLevel.String()))
	for _, p := range c.Providers {
		name := ""
		if p.ID != "" {
			name = p.ID + ": "
		}
		what, conditions := p.Settings.Summary()
		line("identity provider", "%s%s", name, what)
		line("who may sign in", "%s%s", name, providerAudience(p, conditions))
		if p.Name != "static" {
			line("register at provider", "%s%s", name, conf.Names(c.redirectURIs(p)))
		}
	}
	line("consent screen", "%s", onOff(c.ConsentScreen))
	line("redirect URLs", "%s", cmp.Or(patternList(c.RedirectURLs), "https, loopback and private-use schemes"))
	if len(c.RedirectSchemes) > 0 {
		line("redirect schemes", "%s, in addition", conf.Names(c.RedirectSchemes))
	}
	line("dynamic registration", "%s", onOff(c.Registration.Dynamic.Enabled))
	line("metadata documents", "%s", c.Registration.MetadataDocuments.Summary())
	if c.Egress.ProxyURL != "" {
		line("egress proxy", "%s", c.Egress.ProxyURL)
	}
	line("configured clients", "%d", len(c.Clients))
	line("keys", "%s, a new signing key every %s", c.Keys.Summary(), conf.ShowDuration(c.Keys.Rotation))
	line("access tokens", "valid for %s", conf.ShowDuration(c.Tokens.AccessTokenLifetime))
	line("refresh tokens", "%s", c.Tokens.RefreshSummary())
	line("limits per minute", "%s", c.Limits.Summary())
	line("guard", "%s", c.Guard.summary())
	line("introspection", "%s", onOff(c.Introspection))
	if slices.ContainsFunc(c.Hosts, func(h resource.Entry) bool { return h.DeviceGrant }) {
		line("device sign-in", "on")
	}
	line("deny-list", "%s", cmp.Or(c.DenyList, "none"))
	line("audit log", "%s", cmp.Or(c.AuditFile, "standard output"))
	line("tracing", "%s", c.Tracing.Summary())
	line("gate watch", "%s", c.GateWatch.Summary())
	line("identity headers", "%s", strings.Join(c.IdentityHeaders.Names(), ", "))
	line("protected MCP servers", "%d", len(c.Hosts))
	for _, h := range c.Hosts {
		line(serverSetting, "%s://%s%s -> %s%s%s%s", h.Scheme, h.Host, h.Path, withoutQuery(h.Endpoint), servingSummary(h), credentialSummary(h)+dpopSummary(h)+h.ProviderToken.Summary()+h.Exchange.Summary(), policySummary(h))
	}
	return all
}

// redirectURIs are what the operator registers at p.
func (c *Config) redirectURIs(p connector.Config) []string {
	path := "/callback"
	if p.ID != "" {
		path += "/" + p.ID
	}
	if c.CallbackHost.Host != "" {
		return []string{c.CallbackHost.Scheme + "://" + c.CallbackHost.Host + path}
	}
	var all []string
	seen := make(map[string]bool, len(c.Hosts))
	for _, h := range c.Hosts {
		if uri := h.Scheme + "://" + h.Host + path; !seen[uri] {
			seen[uri] = true
			all = append(all, uri)
		}
	}
	return all
}

// credentialSummary says what requests to the server prove themselves with, "" for
// tokens of this service alone.
func credentialSummary(h resource.Entry) string {
	switch {
	case len(h.Issuers) == 0 && !h.OwnTokensOff:
		return ""
	case len(h.Issuers) == 0:
		return ", accepts no tokens"
	case h.OwnTokensOff:
		return ", accepts only tokens of " + conf.Names(h.Issuers)
	}
	return ", also accepts tokens of " + conf.Names(h.Issuers)
}

// dpopSummary says whether tokens are bound to keys, "" if they are not.
func dpopSummary(h resource.Entry) string {
	if !h.DPoP.Accepts() {
		return ""
	}
	return ", DPoP " + string(h.DPoP)
}

// policySummary says which rules hold at the server, "" if none do.
func policySummary(h resource.Entry) string {
	if len(h.Policy) == 0 {
		return ""
	}
	own, all := 0, len(h.Policy)
	for _, r := range h.Policy {
		if !strings.HasPrefix(r.At, "policy.") {
			own++
		}
	}
	return fmt.Sprintf(", %d rules of the policy, %d of them its own", all, own)
}

// providerAudience says whom the provider lets in, the one line to read twice.
// The conditions are those of its kind.
func providerAudience(p connector.Config, all []string) string {
	if len(p.EmailDomains) > 0 {
		verified := "verified"
		if p.TrustUnverifiedEmail {
			verified = "possibly unverified"
		}
		all = append(all, "with a "+verified+" e-mail address at "+patternList(p.EmailDomains))
	}
	if len(all) == 0 {
		return "every account of the identity provider"
	}
	return "accounts " + strings.Join(all, "; and ")
}

// summary names the back end, and what is without TLS. A URL stays a secret.
func (g *GuardFile) summary() string {
	open := func(on bool) string {
		if on {
			return "with TLS"
		}
		return "without TLS"
	}
	switch g.Backend {
	case "redis":
		kind := "redis"
		if g.Redis.Cluster {
			kind = "redis cluster"
		}
		if g.Redis.SentinelMaster != "" {
			kind = fmt.Sprintf("redis master %q by sentinels", g.Redis.SentinelMaster)
		}
		return fmt.Sprintf("%s at %s, %s", kind, strings.Join(g.Redis.Addresses, ", "), open(g.Redis.TLS.Enabled))
	case "postgres":
		if !g.Postgres.URL.IsZero() {
			return fmt.Sprintf("postgres by urlFile, schema %s", g.Postgres.Schema)
		}
		return fmt.Sprintf("postgres at %s, database %q, schema %s, %s", g.Postgres.Address, g.Postgres.Database, g.Postgres.Schema, open(g.Postgres.TLS.Enabled))
	}
	return "in memory (each replica for itself; a restart forgets)"
}

// patternList shows the first patterns of a list.
func patternList(patterns []*regexp.Regexp) string {
	var names []string
	for _, p := range patterns {
		names = append(names, p.String())
	}
	return conf.Names(names)
}

// withoutQuery shows an endpoint without what may be a key to it.
func withoutQuery(u *url.URL) string {
	if u.RawQuery == "" {
		return u.String()
	}
	bare := *u
	bare.RawQuery = ""
	return bare.String() + "?…"
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// servingSummary says where no gateway stands before a server.
func servingSummary(h resource.Entry) string {
	if h.Serving == nil {
		return ""
	}
	return ", served without a gateway"
}
