package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
)

// providerSection is that of one identity provider: `provider` or an entry of
// `providers`.
type providerSection struct{ conf.Section }

// providers resolves the one provider or the list of them.
func (r *resolver) providers(f File) []connector.Config {
	const one, several = "provider", "providers"
	if len(f.Providers) == 0 {
		for at, set := range map[string]bool{"provider.id": f.Provider.ID != "", "provider.keepSubjects": f.Provider.KeepSubjects} {
			if set {
				r.Add(at, "is for entries of providers; the one provider needs no name")
			}
		}
		if r.IsMalformed(several) {
			return nil
		}
		if !r.IsSet(one) && !r.IsMalformed(one) && !r.IsMalformed("proxy.hosts") && len(f.Proxy.Hosts) > 0 &&
			!slices.ContainsFunc(f.Proxy.Hosts, func(h HostFile) bool { return h.OwnTokens }) {
			return nil // people sign in elsewhere
		}
		return []connector.Config{providerSection{conf.Section{Check: r.Check, At: one}}.provider(f.Provider)}
	}
	if r.IsSet(one) {
		r.Add(several, "excludes provider; make that an entry of providers as well")
	}
	list := make([]connector.Config, len(f.Providers))
	for i, entry := range f.Providers {
		r := providerSection{conf.Section{Check: r.Check, At: conf.Element(several, i)}}
		list[i] = r.provider(entry)
		r.id(entry.ID)
	}
	r.distinct(list)
	return list
}

var providerID = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

func (r providerSection) id(id string) {
	switch at := r.Key("id"); {
	case id == "":
		r.Add(at, "is required: a name that never changes, because it is part of who people are")
	case id == rule.KeyNamespace:
		r.Add(at, "%q is how the subjects of API keys begin; choose another", id)
	case id == rule.ClientNamespace:
		r.Add(at, "%q is how the subjects of clients that act for themselves begin; choose another", id)
	case !providerID.MatchString(id):
		r.Add(at, `%s is not an id: up to 32 of a-z, 0-9 and "-", not at the ends`, conf.Show(id))
	}
}

// distinct refuses what would make two providers one, for a person or for this service.
func (r *resolver) distinct(list []connector.Config) {
	kept := slices.IndexFunc(list, func(p connector.Config) bool { return p.KeepSubjects })
	for i, p := range list {
		at := func(key string) string { return fmt.Sprintf("providers[%d].%s", i, key) }
		if first := slices.IndexFunc(list, func(o connector.Config) bool { return o.ID == p.ID }); p.ID != "" && first < i {
			r.Add(at("id"), "%s is the id of providers[%d] too", conf.Show(p.ID), first)
		}
		if first := slices.IndexFunc(list, func(o connector.Config) bool { return o.DisplayName == p.DisplayName }); first < i && (p.DisplayName != "" || p.Name == "static") {
			r.Add(at("displayName"), "people could not tell it from providers[%d]; give each a name of its own", first)
		}
		if p.KeepSubjects && kept < i {
			r.Add(at("keepSubjects"), "is set in providers[%d] too; one provider was the only one", kept)
		}
		if kept >= 0 && kept != i && slices.Contains(bareNamespaces(list[kept]), p.ID) {
			r.Add(at("id"), "%s is how the subjects of providers[%d] begin, which has keepSubjects; choose another", conf.Show(p.ID), kept)
		}
	}
}

// bareNamespaces returns what subjects of p can begin with before the first
// colon where no id stands there: the kind of provider, or a host.
func bareNamespaces(p connector.Config) []string {
	names := []string{p.Name}
	if p.Settings != nil {
		host, _, _ := strings.Cut(p.Settings.Namespace(), "/")
		names = append(names, strings.FieldsFunc(host, func(r rune) bool { return r == '@' || r == ':' })...)
	}
	return names
}
