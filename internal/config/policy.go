package config

import (
	"net/mail"
	"net/url"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

const (
	maxRules      = 100
	maxConditions = 200
)

// policyKey is one condition of a rule.
type policyKey struct {
	name string
	of   func(*rule.Rule) []string
	// covers reports whether whoever narrow stands for wide stands for too.
	covers func(wide, narrow string) bool
}

var policyKeys = []policyKey{
	{"users", func(p *rule.Rule) []string { return p.Users }, equal},
	{"emails", func(p *rule.Rule) []string { return p.Emails }, func(a, b string) bool { return rule.LowerASCII(a) == rule.LowerASCII(b) }},
	{"emailDomains", func(p *rule.Rule) []string { return p.EmailDomains }, domainCovers},
	{"groups", func(p *rule.Rule) []string { return p.Groups }, patternCovers},
	{"providers", func(p *rule.Rule) []string { return p.Providers }, equal},
	{"clients", func(p *rule.Rule) []string { return p.Clients }, equal},
	{"clientHosts", func(p *rule.Rule) []string { return p.ClientHosts }, domainCovers},
	{"clientKinds", func(p *rule.Rule) []string { return p.ClientKinds }, equal},
	{"scopes", func(p *rule.Rule) []string { return p.Scopes }, patternCovers},
	{"tools", func(p *rule.Rule) []string { return p.Tools }, patternCovers},
}

func equal(a, b string) bool { return a == b }

// patternCovers reports whether every name that narrow stands for, a pattern
// for Match, wide stands for too.
func patternCovers(wide, narrow string) bool {
	if prefix, ok := strings.CutSuffix(wide, "*"); ok {
		return strings.HasPrefix(strings.TrimSuffix(narrow, "*"), prefix)
	}
	return wide == narrow
}

func domainCovers(wide, narrow string) bool {
	if below, ok := strings.CutPrefix(narrow, "*"); ok && strings.HasPrefix(wide, "*") {
		return strings.HasSuffix(below, wide[1:])
	}
	return rule.InDomain(wide, narrow)
}

// policyFacts are what the conditions of rules are held to.
type policyFacts struct {
	*Config
	providers []string // ids
	statics   []string // ids of clients
	hosts     []HostFile
}

// policies resolves the rules of each MCP server, after everything that they may name.
func (r *resolver) policies(f File, c *Config) {
	facts := &policyFacts{Config: c, providers: c.ProviderIDs(), hosts: f.Proxy.Hosts}
	for _, client := range c.Clients {
		facts.statics = append(facts.statics, client.ID)
	}
	standard := r.policyRules("policy", f.Policy, facts)
	var denies []rule.Rule
	for _, rule := range standard {
		if !rule.Allow {
			denies = append(denies, rule)
		}
	}
	for i := range c.Hosts {
		h, at := &c.Hosts[i], element("proxy.hosts", i)+".policy"
		h.Policy = standard
		if own := r.policyRules(at, f.Proxy.Hosts[i].Policy, facts); own != nil {
			r.shadowed(own, denies, facts)
			r.reachable(own, h, facts)
			h.Policy = slices.Concat(own, denies)
		}
		r.advised(i, h)
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
			r.add(element("proxy.hosts", i)+".toolPolicy", `"advisory" lets every token use every tool, so %s would not hold; use "enforce" or "strict", or take scopes and tools out of the rules`, rule.String())
			return
		}
	}
}

// policyRules resolves one list of rules; nil is none.
func (r *resolver) policyRules(section string, f PolicyFile, facts *policyFacts) []rule.Rule {
	at := section + ".rules"
	switch {
	case f.Rules == nil || r.isMalformed(at):
		return nil
	case len(f.Rules) == 0:
		r.add(at, "is empty, which would shut everybody out; name rules, or remove the key for no policy")
		return nil
	case r.tooMany(at, len(f.Rules), maxRules):
		return nil
	}
	rules := make([]rule.Rule, len(f.Rules))
	for i, file := range f.Rules {
		rules[i] = r.policyRule(element(at, i), file, facts)
		if first := slices.IndexFunc(f.Rules, func(o PolicyRuleFile) bool { return o.Name == file.Name }); file.Name != "" && first < i {
			r.add(element(at, i)+".name", "%s is the name of %s too", show(file.Name), element(at, first))
		}
	}
	r.shadowed(rules, nil, facts)
	if !slices.ContainsFunc(f.Rules, func(p PolicyRuleFile) bool { return p.Effect != "deny" }) {
		r.add(at, `only deny, so nobody may do anything; add what is allowed, such as {effect: allow, anyone: true}`)
	}
	return rules
}

func (r *resolver) policyRule(at string, f PolicyRuleFile, facts *policyFacts) rule.Rule {
	rule := rule.Rule{
		At: at, Name: f.Name, Allow: f.Effect == "allow",
		Users: f.Users, Emails: f.Emails, EmailDomains: f.EmailDomains, Groups: f.Groups, Providers: f.Providers,
		Clients: f.Clients, ClientHosts: f.ClientHosts, ClientKinds: f.ClientKinds, Scopes: f.Scopes, Tools: f.Tools,
	}
	r.text(at+".name", f.Name)
	switch f.Effect {
	case "allow", "deny":
	case "":
		r.add(at+".effect", `is required: "allow" or "deny"`)
	default:
		r.add(at+".effect", `%s is not one of "allow", "deny"`, show(f.Effect))
	}
	before := len(r.list)
	who := 0
	for _, key := range policyKeys {
		entries := key.of(&rule)
		at := at + "." + key.name
		if entries != nil && len(entries) == 0 {
			r.add(at, "is empty, which would be no condition at all; name somebody or something, or remove the key")
		}
		if !r.tooMany(at, len(entries), maxConditions) {
			for i, entry := range entries {
				if first := slices.Index(entries, entry); first < i {
					r.add(element(at, i), "%s is listed twice", show(entry))
				} else if problem := facts.problem(key.name, entry); problem != "" {
					r.add(element(at, i), "%s", problem)
				}
			}
		}
		if entries != nil && key.name != "scopes" && key.name != "tools" {
			who++
		}
	}
	switch {
	case f.Anyone && who > 0:
		r.add(at+".anyone", "contradicts the conditions beside it; remove one or the other")
	case !f.Anyone && who == 0 && !r.wrong(at): // a condition with a slip in its name is reported as such
		r.add(at, "does not say whom it is about; add users, emails, emailDomains, groups, providers, clients, clientHosts or clientKinds, or anyone: true for everybody")
	}
	if len(f.Scopes) > 0 && len(f.Tools) > 0 {
		r.add(at+".tools", "excludes scopes; write one rule about scopes and one about tools")
	}
	if len(r.list) == before {
		if problem := facts.contradiction(&rule); problem != "" {
			r.add(at, "can never hold: %s", problem)
		}
	}
	return rule
}

// problem says what is wrong with an entry of a condition, or "".
func (c *policyFacts) problem(key, entry string) string {
	if text := textProblem(entry); text != "" && key != "clients" {
		return show(entry) + " " + text
	}
	if entry == "" {
		return "is empty"
	}
	switch key {
	case "users":
		return c.userProblem(entry)
	case "emails":
		if a, err := mail.ParseAddress(entry); err != nil || a.Address != entry {
			return show(entry) + ` is not an e-mail address such as "jane@example.com"`
		}
	case "emailDomains", "clientHosts":
		if problem := dnsNameProblem(strings.TrimPrefix(entry, "*.")); problem != "" {
			return show(entry) + " " + problem + `; write a name such as "example.com", or "*.example.com" for all names below it`
		}
		if key == "clientHosts" {
			return c.clientHostProblem(entry)
		}
	case "groups", "scopes", "tools":
		if problem := patternProblem(key, entry); problem != "" {
			return problem
		}
		if key == "groups" && len(c.Providers) > 0 && !slices.ContainsFunc(c.Providers, tellsGroups) {
			return "no provider says which groups people are in; for google set workspace.groups, for github allowedOrganizations or the scope read:org, for static groups of users"
		}
		if key == "scopes" {
			return c.scopeProblem(entry)
		}
	case "providers":
		if !slices.Contains(c.providers, entry) {
			return show(entry) + " is not the id of a provider; there is " + strings.Join(c.providers, ", ")
		}
	case "clients":
		return c.clientProblem(entry)
	case "clientKinds":
		return c.kindProblem(entry)
	}
	return ""
}

// userProblem finds subjects of a provider that is not there, or of who knows which.
func (c *policyFacts) userProblem(user string) string {
	prefix, _, found := strings.Cut(user, ":")
	if found && slices.Contains(c.providers, prefix) {
		return ""
	}
	if len(c.Providers) > 1 {
		kept := slices.ContainsFunc(c.Providers, func(p connector.Config) bool { return p.KeepSubjects })
		if kept && found { // such a subject begins with a kind of provider or a host
			return ""
		}
		return show(user) + " does not say whose subject it is; begin it with the id of the provider and a colon, as in " + show(c.providers[0]+":1234")
	}
	if found && kindOf(prefix) != nil && !slices.ContainsFunc(c.Providers, func(p connector.Config) bool { return p.Name == prefix }) {
		return show(user) + " is a subject of provider " + show(prefix) + ", which is not configured; there is " + strings.Join(c.providers, ", ")
	}
	return ""
}

func patternProblem(key, entry string) string {
	name := strings.TrimSuffix(entry, "*")
	switch {
	case strings.Contains(name, "*"):
		return show(entry) + " has an asterisk that is not at its end"
	case name == "" && key == "groups":
		return `"*" would be every group; name groups, or use anyone: true`
	case name == "":
		return `"*" is everything already; remove the key`
	case key == "scopes" && !isScopeToken(entry):
		return show(entry) + ` is not a scope: printable ASCII without spaces, '"' and '\'`
	case key == "scopes" && (entry == "openid" || entry == "offline_access"):
		return show(entry) + " is no right to an MCP server, so no rule can be about it"
	}
	return ""
}

// tellsGroups reports whether people of the provider can have groups here. One of
// an unknown kind is a mistake of its own.
func tellsGroups(p connector.Config) bool {
	k := kindOf(p.Name)
	return k == nil || k.tellsGroups(p)
}

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
				return show(scope) + " is written " + show(name) + " in proxy.hosts; scopes differ by case"
			}
		}
	}
	return ""
}

// clientProblem: a rule about a client that cannot be is a slip.
func (c *policyFacts) clientProblem(id string) string {
	if slices.Contains(c.statics, id) {
		return ""
	}
	u, err := url.Parse(id)
	switch {
	case strings.HasPrefix(id, "dcr1."):
		return "is the id of a client that registered itself, and gets another one each time; use clientKinds or clientHosts"
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || len(id) > maxURL:
		return show(id) + " is neither the id of an entry of clients nor the URL of a metadata document"
	}
	return c.clientHostProblem(strings.ToLower(u.Hostname()))
}

func (c *policyFacts) clientHostProblem(host string) string {
	m := c.MetadataDocuments
	stands := func(pattern string) bool { return domainCovers(pattern, host) }
	switch {
	case !m.Enabled:
		return show(host) + " is known by metadata documents, which registration.metadataDocuments.enabled turns off"
	case slices.ContainsFunc(m.DeniedDomains, stands):
		return show(host) + " may not publish clients by registration.metadataDocuments.deniedDomains, so this entry is never met"
	case len(m.AllowedDomains) > 0 && !slices.ContainsFunc(m.AllowedDomains, func(d string) bool { d, _, _ = strings.Cut(d, ":"); return stands(d) || domainCovers(host, d) }):
		return show(host) + " is not in registration.metadataDocuments.allowedDomains, so this entry is never met"
	}
	return ""
}

func (c *policyFacts) kindProblem(kind string) string {
	switch kind {
	case rule.KindStatic:
		if len(c.statics) == 0 {
			return `there are no "static" clients: the section clients is empty`
		}
	case rule.KindDocument:
		if !c.MetadataDocuments.Enabled {
			return `there are no "document" clients: registration.metadataDocuments.enabled turns them off`
		}
	case rule.KindDynamic:
		if !c.DynamicRegistration {
			return `there are no "dynamic" clients: registration.dynamic.enabled turns them off`
		}
	default:
		return show(kind) + ` is not one of "static", "document", "dynamic"`
	}
	return ""
}

// contradiction says why no person and client can meet all conditions, or "".
func (c *policyFacts) contradiction(p *rule.Rule) string {
	for _, pair := range []struct {
		narrow, wide string
		a, b         []string
		covers       func(wide, narrow string) bool
	}{
		{"emails", "emailDomains", domainsOf(p.Emails), p.EmailDomains, domainCovers},
		{"clients", "clientHosts", c.hostsOf(p.Clients), p.ClientHosts, domainCovers},
		{"clients", "clientKinds", c.kindsOf(p.Clients), p.ClientKinds, equal},
		{"clientHosts", "clientKinds", only(rule.KindDocument, len(p.ClientHosts) > 0), p.ClientKinds, equal},
	} {
		given := len(entriesOf(p, pair.narrow)) > 0 && len(entriesOf(p, pair.wide)) > 0
		if given && !slices.ContainsFunc(pair.a, func(n string) bool {
			return slices.ContainsFunc(pair.b, func(w string) bool { return pair.covers(w, n) })
		}) {
			return "none of its " + pair.narrow + " is among its " + pair.wide
		}
	}
	return c.beyondClients(p)
}

// beyondClients says that none of the rule's scopes is one that its clients may have, or "".
func (c *policyFacts) beyondClients(p *rule.Rule) string {
	if !p.Allow || len(p.Clients) == 0 || len(p.Scopes) == 0 {
		return ""
	}
	for _, id := range p.Clients {
		i := slices.Index(c.statics, id)
		if i < 0 || len(c.Config.Clients[i].Scopes) == 0 {
			return ""
		}
		for _, scope := range c.Config.Clients[i].Scopes {
			if slices.ContainsFunc(p.Scopes, func(pattern string) bool { return rule.Match(pattern, scope) }) {
				return ""
			}
		}
	}
	return "none of its scopes is among the scopes of its clients; add it to the entry of clients"
}

// of returns the entries of a condition.
func entriesOf(p *rule.Rule, key string) []string {
	i := slices.IndexFunc(policyKeys, func(k policyKey) bool { return k.name == key })
	return policyKeys[i].of(p)
}

func only(value string, given bool) []string {
	if given {
		return []string{value}
	}
	return nil
}

func domainsOf(emails []string) []string {
	var out []string
	for _, e := range emails {
		out = append(out, rule.LowerASCII(e[strings.LastIndexByte(e, '@')+1:]))
	}
	return out
}

// hostsOf returns the hosts of those clients that have metadata documents.
func (c *policyFacts) hostsOf(clients []string) []string {
	var out []string
	for _, id := range clients {
		if u, err := url.Parse(id); err == nil && !slices.Contains(c.statics, id) {
			out = append(out, strings.ToLower(u.Hostname()))
		}
	}
	return out
}

func (c *policyFacts) kindsOf(clients []string) []string {
	var out []string
	for _, id := range clients {
		if slices.Contains(c.statics, id) {
			out = append(out, rule.KindStatic)
		} else {
			out = append(out, rule.KindDocument)
		}
	}
	return out
}

// shadowed reports the rules of a list that another one makes idle. Their order
// means nothing, so a rule that covers another may stand before or after it;
// others are rules that hold as well.
func (r *resolver) shadowed(rules, others []rule.Rule, facts *policyFacts) {
	for i := range rules {
		p := &rules[i]
		if r.wrong(p.At) {
			continue
		}
		against := others
		if others == nil {
			against = rules
		}
		found := ""
		for j := range against {
			o := &against[j]
			if o.At == p.At || r.wrong(o.At) || !facts.covers(o, p) {
				continue
			}
			problem := idle(p, o, facts.covers(p, o), others == nil && j < i)
			if found == "" || problem != "" && !o.Allow { // that it is denied is what to know first
				found = problem
			}
		}
		if found != "" {
			r.add(p.At, "%s", found)
		}
	}
}

// idle says what is wrong with p, all of which o covers, or "" if nothing is.
// Of twins the later one is reported.
func idle(p, o *rule.Rule, twins, later bool) string {
	switch {
	case p.Allow && !o.Allow:
		return "allows nothing, because " + o.String() + " denies all of it; narrow one of the two"
	case p.Allow != o.Allow:
		return "" // an exception of what is allowed
	case twins && later:
		return "says the same as " + o.String() + "; remove one of the two"
	case twins && o.At[:strings.LastIndexByte(o.At, '[')] == p.At[:strings.LastIndexByte(p.At, '[')]:
		return ""
	case p.Allow:
		return "adds nothing, because " + o.String() + " allows all of it already; remove it, or narrow the other"
	}
	return "adds nothing, because " + o.String() + " denies all of it already; remove it, or narrow the other"
}

// wrong reports whether something was said about the rule at, or below it.
func (r *resolver) wrong(at string) bool {
	return r.isMalformed(at) || slices.ContainsFunc(r.list, func(m Mistake) bool {
		rest, ok := strings.CutPrefix(m.Path, at)
		return ok && (rest == "" || rest[0] == '.')
	})
}

// covers reports whether p holds, and is about the same, wherever o does.
func (c *policyFacts) covers(p, o *rule.Rule) bool {
	for _, key := range policyKeys {
		wide := key.of(p)
		if len(wide) == 0 {
			continue
		}
		implied := within(wide, key.of(o), key.covers)
		switch key.name { // what another condition says as well
		case "emailDomains":
			implied = implied || within(wide, domainsOf(o.Emails), key.covers)
		case "clientHosts":
			implied = implied || len(c.hostsOf(o.Clients)) == len(o.Clients) && within(wide, c.hostsOf(o.Clients), key.covers)
		case "clientKinds":
			implied = implied || within(wide, only(rule.KindDocument, len(o.ClientHosts) > 0), key.covers) || within(wide, c.kindsOf(o.Clients), key.covers)
		}
		if !implied {
			return false
		}
	}
	return true
}

// within reports whether there are narrow entries, and each is covered by a wide one.
func within(wide, narrow []string, covers func(wide, narrow string) bool) bool {
	return len(narrow) > 0 && !slices.ContainsFunc(narrow, func(n string) bool {
		return !slices.ContainsFunc(wide, func(w string) bool { return covers(w, n) })
	})
}

// reachable reports rules of an MCP server about clients that cannot come there,
// or cannot have what the rule allows.
func (r *resolver) reachable(rules []rule.Rule, h *resource.Entry, facts *policyFacts) {
	uri := h.Scheme + "://" + h.Host + h.Path
	for i := range rules {
		p := &rules[i]
		if !p.Allow || len(p.Clients) == 0 || r.wrong(p.At) {
			continue
		}
		if !slices.ContainsFunc(p.Clients, func(id string) bool {
			i := slices.Index(facts.statics, id)
			return i < 0 || len(facts.Config.Clients[i].Resources) == 0 || slices.Contains(facts.Config.Clients[i].Resources, uri)
		}) {
			r.add(p.At+".clients", "may not reach %s by the resources of their own entries; add it there, or remove the rule", uri)
		}
	}
}
