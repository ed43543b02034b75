package config

import (
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion/idjag"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion/kinds"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/issuer"
)

// resources are the public URLs of the MCP servers.
func (c *Config) resources() []string {
	var all []string
	for _, h := range c.Hosts {
		all = append(all, h.Scheme+"://"+h.Host+h.Path)
	}
	return all
}

// trustedIssuers resolves the issuers whose assertions /token takes. What they are
// about has the namespace of the issuer, and people the one of its sign-ins here.
func (r *resolver) trustedIssuers(files []assertion.File, c *Config) {
	c.TrustedIssuers = assertion.ResolveAll(r.Check, kinds.All(), files, c.resources())
	once := false
	for i := range c.TrustedIssuers {
		entry := &c.TrustedIssuers[i]
		for _, h := range c.Hosts {
			if strings.TrimSuffix(entry.Issuer, "/") == h.Scheme+"://"+h.Host {
				r.Add(entry.At+".issuer", "is this service itself, which makes no assertions")
				break
			}
		}
		sameAs, namespace := r.namespace(entry.At, entry.Issuer, "sub", c.Providers)
		if entry.Kind != nil && entry.Kind.Name() == idjag.Name {
			entry.SameAs, entry.Namespace = sameAs, namespace
		} else if sameAs != "" {
			r.Add(entry.At+".issuer", "%s is an identity provider here, and a workload of it could be spelled like a person; its assertions about people are of kind %q", conf.ShowURL(entry.Issuer), idjag.Name)
		}
		if len(entry.Rules) == 0 && !c.exchanges(entry.Issuer) {
			r.Add(entry.At+".rules", "is required: without a rule the issuer's assertions get nothing")
		}
		once = once || entry.SingleUse
		r.apart(c, entry, i)
		for j, rule := range entry.Rules {
			r.closed(c, conf.Element(entry.At+".rules", j)+".resources", rule.Resources)
		}
	}
	if once && c.Guard.Backend == "memory" {
		r.Warn("guard.backend", `is "memory", and each replica would accept an assertion of trustedIssuers once; with more than one replica share the guard, see docs/replicas.md`)
	}
}

// apart refuses two issuers whose subjects begin alike and are not the same.
func (r *resolver) apart(c *Config, entry *assertion.Config, i int) {
	alike := func(namespace, other string) {
		if namespace == entry.Namespace && other != entry.Issuer {
			r.Add(entry.At+".issuer", "subjects of %s begin as those of %s do; the two differ by their scheme alone", conf.ShowURL(entry.Issuer), conf.ShowURL(other))
		}
	}
	c.eachIssuer(func(other *issuer.Config) { alike(other.Namespace, other.Issuer) })
	for _, other := range c.TrustedIssuers[:i] {
		alike(other.Namespace, other.Issuer)
	}
}

// closed reports resources that take no tokens of this service.
func (r *resolver) closed(c *Config, at string, resources []string) {
	for _, h := range c.Hosts {
		if i := slices.Index(resources, h.Scheme+"://"+h.Host+h.Path); i >= 0 && h.OwnTokensOff {
			r.Add(conf.Element(at, i), "takes no tokens of this service (ownTokens is off), so there is nothing to get")
		}
	}
}
