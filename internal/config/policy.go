package config

import (
	"net/mail"
	"net/url"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector/kinds"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/apikey"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/issuer"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/session"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/lint"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// policyFacts are what the conditions of rules are held to.
type policyFacts struct {
	*Config
	providers []string // ids
	// issuers are the URLs of other authorization servers, and namespaces how the
	// subjects and clients of theirs begin.
	issuers, namespaces []string
}

// policies resolves the rules of each MCP server, after everything that they may name.
func (r *resolver) policies(f File, c *Config) {
	facts := &policyFacts{Config: c, providers: c.ProviderIDs()}
	facts.issuers, facts.namespaces = c.issuers()
	clients := lint.Clients(c.Clients)
	standard := r.policyRules("policy", f.Policy, facts)
	var denies []rule.Rule
	for _, rule := range standard {
		if !rule.Allow {
			denies = append(denies, rule)
		}
	}
	for i := range c.Hosts {
		h, at := &c.Hosts[i], conf.Element("proxy.hosts", i)+".policy"
		h.Policy = standard
		if own := r.policyRules(at, f.Proxy.Hosts[i].Policy, facts); own != nil {
			r.problems(clients.ShadowedBy(r.sound(own), r.sound(denies)))
			r.problems(clients.Unreachable(r.sound(own), h.Scheme+"://"+h.Host+h.Path))
			h.Policy = slices.Concat(own, denies)
		}
		r.advised(i, h)
	}
}

// sound returns the rules that nothing is said about so far.
func (r *resolver) sound(rules []rule.Rule) []rule.Rule {
	return slices.DeleteFunc(slices.Clone(rules), func(rule rule.Rule) bool { return r.Wrong(rule.At) })
}

func (r *resolver) problems(found []lint.Problem) {
	for _, p := range found {
		r.Add(p.At, "%s", p.Text)
	}
}

// ProviderIDs returns the ids that rules call providers by.
func (c *Config) ProviderIDs() []string {
	var ids []string
	for _, p := range c.Providers {
		ids = append(ids, p.PolicyID())
	}
	return ids
}

// advised refuses rules that would be written down and not held.
func (r *resolver) advised(i int, h *resource.Entry) {
	if h.Rules.ToolPolicy != rule.Advisory {
		return
	}
	for _, rule := range h.Policy {
		if len(rule.Scopes)+len(rule.Tools) > 0 {
			r.Add(conf.Element("proxy.hosts", i)+".toolPolicy", `"advisory" lets every token use every tool, so %s would not hold; use "enforce" or "strict", or take scopes and tools out of the rules`, rule.String())
			return
		}
	}
}

// policyRules resolves one list of rules; nil is none.
func (r *resolver) policyRules(section string, f PolicyFile, facts *policyFacts) []rule.Rule {
	at := section + ".rules"
	switch {
	case f.Rules == nil || r.IsMalformed(at):
		return nil
	case len(f.Rules) == 0:
		r.Add(at, "is empty, which would shut everyone out; name rules, or remove the key for no policy")
		return nil
	}
	rules := make([]rule.Rule, len(f.Rules))
	for i, file := range f.Rules {
		rules[i] = r.policyRule(conf.Element(at, i), file, facts)
		if first := slices.IndexFunc(f.Rules, func(o rule.Rule) bool { return o.Name == file.Name }); file.Name != "" && first < i {
			r.Add(conf.Element(at, i)+".name", "%s is the name of %s too", conf.Show(file.Name), conf.Element(at, first))
		}
	}
	r.problems(lint.Clients(facts.Clients).Shadowed(r.sound(rules)))
	if !slices.ContainsFunc(f.Rules, func(p rule.Rule) bool { return p.Effect != "deny" }) {
		r.Add(at, `only deny, so no one may do anything; add what is allowed, such as {effect: allow, anyone: true}`)
	}
	return rules
}

func (r *resolver) policyRule(at string, p rule.Rule, facts *policyFacts) rule.Rule {
	p.At, p.Allow = at, p.Effect == "allow"
	if p.Effect == "" {
		r.Add(at+".effect", `is required: "allow" or "deny"`)
	}
	before := r.Len()
	who := 0
	for _, key := range rule.Conditions {
		entries := key.Of(&p)
		at := at + "." + key.Name
		if entries != nil && len(entries) == 0 {
			r.Add(at, "is empty, which would be no condition at all; name what it is about, or remove the key")
		}
		for i, entry := range entries {
			if problem := facts.problem(key.Name, entry); problem != "" {
				r.Add(conf.Element(at, i), "%s", problem)
			}
		}
		if entries != nil && !key.What {
			who++
		}
	}
	switch {
	case p.Anyone && who > 0:
		r.Add(at+".anyone", "contradicts the conditions beside it; remove one or the other")
	case !p.Anyone && who == 0 && !r.Wrong(at): // a condition with a slip in its name is reported as such
		r.Add(at, "does not say whom it is about; add users, emails, emailDomains, groups, actors, roles, providers, clients, clientHosts or clientKinds, or anyone: true for everyone")
	}
	if len(p.Scopes) > 0 && len(p.Tools) > 0 {
		r.Add(at+".tools", "excludes scopes; write one rule about scopes and one about tools")
	}
	if r.Len() == before {
		if problem := lint.Clients(facts.Clients).Contradiction(&p); problem != "" {
			r.Add(at, "can never hold: %s", problem)
		}
	}
	return p
}

// problem says what is wrong with an entry of a condition, or "".
func (c *policyFacts) problem(key, entry string) string {
	if text := conf.TextProblem(entry); text != "" && key != "clients" {
		return conf.Show(entry) + " " + text
	}
	if entry == "" {
		return "is empty"
	}
	switch key {
	case "users":
		return c.userProblem(entry)
	case "emails":
		if a, err := mail.ParseAddress(entry); err != nil || a.Address != entry {
			return conf.Show(entry) + ` is not an e-mail address such as "jane@example.com"`
		}
	case "emailDomains", "clientHosts":
		if problem := conf.DNSNameProblem(strings.TrimPrefix(entry, "*.")); problem != "" {
			return conf.Show(entry) + " " + problem + `; write a name such as "example.com", or "*.example.com" for all names below it`
		}
		if key == "clientHosts" {
			return c.clientHostProblem(entry)
		}
	case "actors", "roles":
		return c.agentProblem(key, entry)
	case "groups", "scopes", "tools":
		if problem := patternProblem(key, entry); problem != "" {
			return problem
		}
		if key == "groups" && len(c.Providers) > 0 && !c.takesKeys() && len(c.issuers) == 0 && !slices.ContainsFunc(c.Providers, tellsGroups) {
			return "no provider says which groups people are in; for google set workspace.groups, for github allowedOrganizations or the scope read:org, for static groups of users"
		}
		if key == "scopes" {
			return c.scopeProblem(entry)
		}
	case "providers":
		if entry == rule.KeyNamespace {
			return c.keyProblem(entry)
		}
		if known := slices.Concat(c.providers, c.issuers); !slices.Contains(known, entry) {
			return conf.Show(entry) + " is not the id of a provider; there is " + strings.Join(known, ", ")
		}
	case "clients":
		return c.clientProblem(entry)
	case "clientKinds":
		return c.kindProblem(entry)
	}
	return ""
}

// agentProblem: a rule about agents is a slip where none can come.
func (c *policyFacts) agentProblem(key, entry string) string {
	if strings.Contains(strings.TrimSuffix(entry, "*"), "*") {
		return conf.Show(entry) + " has an asterisk that is not at its end"
	}
	if key == "roles" && len(c.TrustedIssuers) == 0 {
		return conf.Show(entry) + " is a role of workloads, and there are no trustedIssuers"
	}
	if key == "actors" && len(c.TrustedIssuers) == 0 && !c.delegated() && !c.callsOthers() {
		return conf.Show(entry) + " acts for someone, and no tokens are taken that say so: there are no trustedIssuers, no authorizationServers with delegation, and no tokenExchange with targets"
	}
	return ""
}

// delegated reports whether tokens of another server may say who acts.
func (c *policyFacts) delegated() (found bool) {
	c.eachIssuer(func(entry *issuer.Config) { found = found || entry.Delegation })
	return found
}

// callsOthers reports whether some MCP server calls another for its callers.
func (c *policyFacts) callsOthers() bool {
	return slices.ContainsFunc(c.Hosts, func(h resource.Entry) bool { return h.Exchange != nil && len(h.Exchange.Targets) > 0 })
}

// userProblem reports a subject whose provider is unknown or ambiguous.
func (c *policyFacts) userProblem(user string) string {
	if c.ofIssuer(user) || c.ofIssuer(strings.TrimPrefix(user, "client@")) {
		return ""
	}
	prefix, _, found := strings.Cut(user, ":")
	if found && prefix == rule.KeyNamespace {
		return c.keyProblem(user)
	}
	if id, ok := strings.CutPrefix(user, rule.ClientNamespace+":"); ok {
		return c.ownClientProblem(id)
	}
	if found && slices.Contains(c.providers, prefix) {
		return ""
	}
	if len(c.Providers) == 0 && len(c.namespaces) > 0 {
		return conf.Show(user) + " does not say whose subject it is; begin it with the issuer without its scheme and a colon, as in " + conf.Show(c.namespaces[0]+":1234")
	}
	if len(c.Providers) > 1 {
		kept := slices.ContainsFunc(c.Providers, func(p connector.Config) bool { return p.KeepSubjects })
		if kept && found { // such a subject begins with a kind of provider or a host
			return ""
		}
		return conf.Show(user) + " does not say whose subject it is; begin it with the id of the provider and a colon, as in " + conf.Show(c.providers[0]+":1234")
	}
	if found && kinds.Of(prefix) != nil && !slices.ContainsFunc(c.Providers, func(p connector.Config) bool { return p.Name == prefix }) {
		return conf.Show(user) + " is a subject of provider " + conf.Show(prefix) + ", which is not configured; there is " + strings.Join(c.providers, ", ")
	}
	return ""
}

// ownClientProblem: a rule about a client that acts for itself is a slip where it cannot.
func (c *policyFacts) ownClientProblem(id string) string {
	if slices.ContainsFunc(c.Clients, func(k registration.Known) bool { return k.ID == id && k.ActsAlone() }) {
		return ""
	}
	return conf.Show(id) + ` is not the id of an entry of clients with the grant type "client_credentials"`
}

// ofIssuer reports whether a subject or a client id is one of another authorization server.
func (c *policyFacts) ofIssuer(name string) bool {
	return slices.ContainsFunc(c.namespaces, func(n string) bool { return strings.HasPrefix(name, n+":") })
}

func patternProblem(key, entry string) string {
	name := strings.TrimSuffix(entry, "*")
	switch {
	case strings.Contains(name, "*"):
		return conf.Show(entry) + " has an asterisk that is not at its end"
	case name == "" && key == "groups":
		return `"*" would be every group; name groups, or use anyone: true`
	case name == "":
		return `"*" is everything already; remove the key`
	case key == "scopes" && !conf.IsScopeToken(entry):
		return conf.Show(entry) + ` is not a scope: printable ASCII without spaces, '"' and '\'`
	case key == "scopes" && (entry == "openid" || entry == "offline_access"):
		return conf.Show(entry) + " is no right to an MCP server, so no rule can be about it"
	}
	return ""
}

// tellsGroups reports whether people of the provider can have groups here. One of
// an unknown kind is a mistake of its own.
func tellsGroups(p connector.Config) bool { return p.Settings == nil || p.Settings.TellsGroups() }

// scopeProblem finds scopes that the operator wrote in another case elsewhere.
// What an MCP server declares is not known here.
func (c *policyFacts) scopeProblem(scope string) string {
	for _, h := range c.Hosts {
		names := slices.Clone(h.DefaultScopes)
		for _, s := range h.Rules.Scopes {
			names = append(names, s.Name)
		}
		for _, name := range names {
			if name != scope && strings.EqualFold(name, scope) && !slices.Contains(names, scope) {
				return conf.Show(scope) + " is written " + conf.Show(name) + " in proxy.hosts; scopes differ by case"
			}
		}
	}
	return ""
}

func (c *policyFacts) isStatic(id string) bool {
	return slices.ContainsFunc(c.Clients, func(k registration.Known) bool { return k.ID == id })
}

// clientProblem: a rule about a client that cannot be is a slip.
func (c *policyFacts) clientProblem(id string) string {
	if c.isStatic(id) || c.ofIssuer(id) {
		return ""
	}
	if id == session.ClientID {
		return c.kindProblem(rule.KindBrowser)
	}
	if name, ok := strings.CutPrefix(id, rule.KeyNamespace+":"); ok {
		if !c.APIKeys.Webhook.On() && len(c.APIKeys.Keys) > 0 && c.APIKeys.File == "" && !slices.ContainsFunc(c.APIKeys.Keys, func(k apikey.Key) bool { return k.Name == name }) {
			return conf.Show(name) + " is not the name of one of apiKeys.keys"
		}
		return c.keyProblem(id)
	}
	u, err := url.Parse(id)
	switch {
	case strings.HasPrefix(id, "dcr1."):
		return "is the id of a client that registered itself, and gets another one each time; use clientKinds or clientHosts"
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || len(id) > conf.MaxURL:
		return conf.Show(id) + " is neither the id of an entry of clients nor the URL of a metadata document"
	}
	return c.clientHostProblem(strings.ToLower(u.Hostname()))
}

func (c *policyFacts) clientHostProblem(host string) string {
	m := c.Registration.MetadataDocuments
	stands := func(pattern string) bool { return rule.CoversDomain(pattern, host) }
	switch {
	case !m.Enabled:
		return conf.Show(host) + " is known by metadata documents, which registration.metadataDocuments.enabled turns off"
	case slices.ContainsFunc(m.DeniedDomains, stands):
		return conf.Show(host) + " may not publish clients by registration.metadataDocuments.deniedDomains, so this entry is never met"
	case len(m.AllowedDomains) > 0 && !slices.ContainsFunc(m.AllowedDomains, func(d string) bool { d, _, _ = strings.Cut(d, ":"); return stands(d) || rule.CoversDomain(host, d) }):
		return conf.Show(host) + " is not in registration.metadataDocuments.allowedDomains, so this entry is never met"
	}
	return ""
}

// takesKeys reports whether any MCP server takes API keys.
func (c *policyFacts) takesKeys() bool {
	return slices.ContainsFunc(c.Hosts, func(h resource.Entry) bool { return h.APIKeys || h.PersonalKeys })
}

// keyProblem: a rule about API keys is a slip where none are taken.
func (c *policyFacts) keyProblem(entry string) string {
	if c.takesKeys() {
		return ""
	}
	return conf.Show(entry) + " is about API keys, and no entry of proxy.hosts takes them; see proxy.hosts[].apiKeys"
}

func (c *policyFacts) kindProblem(kind string) string {
	switch kind {
	case rule.KindStatic:
		if len(c.Clients) == 0 {
			return `there are no "static" clients: the section clients is empty`
		}
	case rule.KindDocument:
		if !c.Registration.MetadataDocuments.Enabled {
			return `there are no "document" clients: registration.metadataDocuments.enabled turns them off`
		}
	case rule.KindDynamic:
		if !c.Registration.Dynamic.Enabled {
			return `there are no "dynamic" clients: registration.dynamic.enabled turns them off`
		}
	case rule.KindKey:
		return c.keyProblem(kind)
	case rule.KindBrowser:
		if !slices.ContainsFunc(c.Hosts, func(h resource.Entry) bool { return len(h.Pages) > 0 }) {
			return `there are no "browser" clients: no entry of proxy.hosts has pages`
		}
	case rule.KindWorkload:
		if len(c.TrustedIssuers) == 0 {
			return `there are no "workload" clients: there are no trustedIssuers`
		}
	case rule.KindExternal:
		if len(c.issuers) == len(c.TrustedIssuers) {
			return `there are no "external" clients: no entry of proxy.hosts has authorizationServers`
		}
	default:
		return conf.Show(kind) + ` is not one of "static", "document", "dynamic", "external", "key", "browser", "workload"`
	}
	return ""
}
