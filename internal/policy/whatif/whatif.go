// Package whatif says what the rules of a policy come to for one person and one
// client, and which rule decides. It reads the configuration and the deny-list
// alone: it asks no identity provider and no MCP server, so a rule about tools is
// taken to find its tools, and groups are those of the question.
package whatif

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/apikey"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/issuer"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/session"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
)

// everyOther names the scopes that are not named anywhere. No scope has a space.
const everyOther = "every other scope"

// Service is what an answer depends on: the sections of a configuration.
type Service struct {
	Providers []connector.Config
	Hosts     []resource.Entry
	Clients   []registration.Known
	Keys      []apikey.Key
	// AuthorizationServers are the other ones whose tokens each of Hosts takes.
	AuthorizationServers [][]issuer.Config
	// Kinds are those of assertions, and TrustedIssuers whose /token takes.
	Kinds          []assertion.Kind
	TrustedIssuers []assertion.Config
	DenyList       string // path, "" for none
}

// Question is about one person, one client and one MCP server.
type Question struct {
	// As is "user=…,email=…,groups=a|b,provider=…,client=…". Each part may be
	// missing; a backslash takes the meaning of "," and "|". The provider may be the
	// issuer URL of another authorization server. The client "browser" is the person's own,
	// at pages.
	As string
	// Agent is an assertion of a trusted issuer, instead of As; AgentClient is the
	// client that shows it, "" for none.
	Agent, AgentClient string
	// Resource is a URL of the MCP server, or of a page; "" is the only server.
	Resource string
	// Scopes are separated by commas; "" is every scope that the configuration names.
	Scopes string
}

// Decision is the answer.
type Decision struct {
	Resource string   `json:"resource"`
	Person   Person   `json:"person"`
	Client   Client   `json:"client"`
	Rules    int      `json:"rules"` // that are in force at the resource
	Admitted bool     `json:"admitted"`
	Reason   string   `json:"reason,omitempty"` // why not
	Scopes   []Scope  `json:"scopes"`
	Pages    []Page   `json:"pages,omitempty"` // instead of Scopes, for the person's own browser
	Notes    []string `json:"notes"`
	OK       bool     `json:"ok"`
}

// Person is whom the answer is about.
type Person struct {
	User     string   `json:"user,omitempty"`
	Email    string   `json:"email,omitempty"`
	Groups   []string `json:"groups,omitempty"`
	Provider string   `json:"provider"`
	// Actors are who acts for the person, the one who acts now first; Roles what a
	// platform says of its workload.
	Actors []string `json:"actors,omitempty"`
	Roles  []string `json:"roles,omitempty"`
}

// Client is the client that the person uses.
type Client struct {
	ID   string `json:"id,omitempty"`
	Kind string `json:"kind"`
}

// Scope is what the policy says of one scope.
type Scope struct {
	Scope    string   `json:"scope"`
	Allowed  bool     `json:"allowed"`
	Rule     string   `json:"rule,omitempty"` // that decided; none where no rule speaks of it
	Offered  bool     `json:"offered"`        // by the consent page, before it is known who the person is
	Tools    []string `json:"tools,omitempty"`
	NotTools []string `json:"not_tools,omitempty"`
}

// Decide answers q. An error is a mistake in the question, or a deny-list that
// cannot be read.
func (s Service) Decide(q Question) (*Decision, error) {
	given, err := readAs(q.As)
	if err != nil {
		return nil, err
	}
	if q.Agent == "" && plain(given["client"]) == session.ClientID {
		return s.decidePages(q, given)
	}
	host, uri, err := s.host(q.Resource)
	if err != nil {
		return nil, err
	}
	if q.Agent != "" {
		return s.decideAgent(q, host, uri)
	}
	if name, ok := strings.CutPrefix(plain(given["client"]), rule.KeyNamespace+":"); ok {
		return s.decideKey(q, host, uri, name, given)
	}
	if url := plain(given["provider"]); strings.Contains(url, "://") {
		return s.decideExternal(q, host, uri, url, given)
	}
	provider, id, err := s.identity(given)
	if err != nil {
		return nil, err
	}
	client, limits, err := s.client(given["client"])
	if err != nil {
		return nil, err
	}
	d := &Decision{
		Resource: uri, Rules: len(host.Policy), Scopes: []Scope{}, Notes: []string{},
		Person: Person{User: id.Subject, Email: id.Email, Groups: id.Groups, Provider: provider.PolicyID()},
		Client: Client{ID: given["client"], Kind: client.Kind},
	}
	if id.Subject != "" {
		d.Person.User = id.FullSubject()
	}
	if d.Reason, err = s.refusal(provider, id, given["client"]); err != nil {
		return nil, err
	}
	d.Admitted = d.Reason == ""
	rules, err := s.rules(uri)
	if err != nil {
		return nil, err
	}
	names, asked, err := q.scopes(host)
	if err != nil {
		return nil, err
	}
	match := rules.Match(id, client)
	if x := s.exchange(plain(given["client"]), uri); x != nil {
		match = x.match(rules, provider, id, client)
		limits.exchange, d.Person.Actors = x, x.actors()
		d.Notes = append(d.Notes, x.note())
	}
	d.judge(names, rules.MatchClient(client), match, limits)
	d.conclude(asked)
	d.note(host)
	return d, nil
}

// scopes returns those that the answer is about, and whether the question names them.
func (q Question) scopes(host *resource.Entry) (names []string, asked bool, err error) {
	list, err := oauth.ParseScopes(strings.ReplaceAll(q.Scopes, ",", " "))
	if err != nil {
		return nil, false, err
	}
	if len(list) > 0 {
		return list, true, nil
	}
	return append(knownScopes(host), everyOther), false, nil
}

// conclude says whether all scopes that were asked about are allowed, or any where
// none was named.
func (d *Decision) conclude(asked bool) {
	if d.OK = slices.ContainsFunc(d.Scopes, func(s Scope) bool { return s.Allowed }); asked {
		d.OK = !slices.ContainsFunc(d.Scopes, func(s Scope) bool { return !s.Allowed })
	}
}

// rules returns the policy of one MCP server.
func (s Service) rules(uri string) (*policy.Rules, error) {
	table, err := resource.NewTable(s.Hosts)
	if err != nil {
		return nil, err
	}
	unknown := func(string, string) ([]string, bool) { return nil, false }
	return policy.New(table.All(), s.providerIDs(), unknown).For(uri), nil
}

// judge adds what the rules say of each scope, before and after the person is known.
func (d *Decision) judge(names []string, before, after policy.Match, limits limits) {
	for _, name := range names {
		v := after.Verdict(name)
		say := Scope{
			Scope: name, Allowed: v.Allowed && d.Admitted, Rule: v.Rule, Tools: v.Tools, NotTools: v.NotTools,
			Offered: before.Verdict(name).Allowed,
		}
		if limit := limits.exclude(name, d.Resource); limit != "" {
			say = Scope{Scope: name, Rule: limit}
		}
		d.Scopes = append(d.Scopes, say)
	}
}

func (s Service) providerIDs() []string {
	ids := make([]string, len(s.Providers))
	for i, p := range s.Providers {
		ids[i] = p.PolicyID()
	}
	return ids
}

// host returns the entry that a resource's URL belongs to.
func (s Service) host(at string) (*resource.Entry, string, error) {
	if at == "" && len(s.Hosts) > 1 {
		return nil, "", errors.New("--resource URL is required, because the configuration has several MCP servers")
	}
	table, err := resource.NewTable(s.Hosts)
	if err != nil {
		return nil, "", err
	}
	for i, r := range table.All() { // in the order of the configuration
		if found, ok := r.Host.Requested(at); at == "" || ok && found == r {
			return &s.Hosts[i], r.URI, nil
		}
	}
	return nil, "", fmt.Errorf("--resource: %q is no MCP server of this configuration", at)
}

// identity makes the identity that the provider would vouch for.
func (s Service) identity(given map[string]string) (*connector.Config, connector.Identity, error) {
	ids, found := s.providerIDs(), -1
	for i := range s.Providers {
		if ids[i] == given["provider"] || given["provider"] == "" && len(s.Providers) == 1 {
			found = i
		}
	}
	if found < 0 {
		return nil, connector.Identity{}, fmt.Errorf("--as: provider=… is required: one of %s", strings.Join(ids, ", "))
	}
	p := &s.Providers[found]
	id := connector.Identity{Provider: p.ID, Namespace: namespace(p), Email: plain(given["email"])}
	id.Subject = plain(given["user"])
	for _, prefix := range []string{id.Namespace + ":", p.PolicyID() + ":"} {
		if rest, ok := strings.CutPrefix(id.Subject, prefix); ok {
			id.Subject = rest
			break
		}
	}
	id.Groups = groups(given)
	return p, id, nil
}

func groups(given map[string]string) (names []string) {
	for g := range split(given["groups"], '|') {
		if g != "" {
			names = append(names, plain(g))
		}
	}
	return names
}

// limits are those that the operator set for one client.
type limits struct {
	at string // "clients[0]", "" for none
	registration.Known
	exchange *exchange // nil where the client comes with tokens of its own
}

// exclude returns the key by which the client may not have the scope at uri, or "".
func (l limits) exclude(scope, uri string) string {
	switch {
	case len(l.Resources) > 0 && !slices.Contains(l.Resources, uri):
		return l.at + ".resources"
	case len(l.Scopes) > 0 && !slices.Contains(l.Scopes, scope):
		return l.at + ".scopes"
	case l.exchange != nil && !l.exchange.scopes.Contains(scope):
		return l.exchange.at + ".targets"
	}
	return ""
}

// client returns the client with this id; without one, some client that
// registered itself.
func (s Service) client(escaped string) (policy.Client, limits, error) {
	id := plain(escaped)
	for i, c := range s.Clients {
		if c.ID == id {
			return policy.Client{Key: oauth.ClientKey(id), Kind: rule.KindStatic}, limits{at: fmt.Sprintf("clients[%d]", i), Known: c}, nil
		}
	}
	u, err := url.Parse(id)
	switch {
	case id == "" || strings.HasPrefix(id, "dcr1."):
		return policy.Client{Key: oauth.ClientKey(id), Kind: rule.KindDynamic}, limits{}, nil
	case err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "":
		return policy.Client{Key: oauth.ClientKey(id), Kind: rule.KindDocument, Host: u.Host}, limits{}, nil
	}
	return policy.Client{}, limits{}, fmt.Errorf("--as: client %q is neither the id of an entry of clients nor the URL of a metadata document; without client= it is one that registered itself", id)
}

// refusal says why the person is refused before any rule is looked at, or "".
func (s Service) refusal(p *connector.Config, id connector.Identity, client string) (string, error) {
	if err := policy.NewGate(*p).Admit(id); err != nil {
		return err.Error(), nil
	}
	return s.denied(id, client)
}

// denied says why the deny-list refuses the person or the client, or "".
func (s Service) denied(id connector.Identity, client string) (string, error) {
	if s.DenyList == "" {
		return "", nil
	}
	text, err := os.ReadFile(s.DenyList)
	if err != nil {
		return "", err
	}
	denied, err := revocation.ParseDenied(text)
	if err != nil {
		return "", fmt.Errorf("denyList.file: %w", err)
	}
	list := revocation.New(0, time.Now)
	list.Deny(denied)
	facts := revocation.Facts{Subject: id.FullSubject(), Email: id.Email, Client: revocation.Client(plain(client))}
	return string(list.Check(facts)), nil
}

// knownScopes are those that the configuration names.
func knownScopes(h *resource.Entry) []string {
	names := slices.Clone(h.DefaultScopes)
	for _, s := range h.Rules.Scopes {
		names = append(names, s.Name)
	}
	for _, r := range h.Policy {
		for _, s := range r.Scopes {
			if !strings.HasSuffix(s, "*") {
				names = append(names, s)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// note says what the Decision does not.
func (d *Decision) note(h *resource.Entry) {
	limited, denied := false, false
	for _, s := range d.Scopes {
		limited = limited || s.Allowed && len(s.Tools)+len(s.NotTools) > 0
		denied = denied || !s.Allowed
	}
	if d.Rules == 0 {
		d.Notes = append(d.Notes, "there are no rules for this MCP server, so everyone who may sign in may ask for every scope")
	}
	if h.Rules.SeeBody() || h.Rules.ToolPolicy != rule.Enforce {
		return
	}
	switch {
	case limited:
		d.Notes = append(d.Notes, "requests of MCP revisions before 2026-07-28 do not tell their tool, so this person's are refused; body: true would decide them, and behind Envoy envoyMCP: true, behind agentgateway extMCP: true")
	case denied && d.OK:
		d.Notes = append(d.Notes, `toolPolicy is "enforce": requests of MCP revisions before 2026-07-28 do not tell their tool and pass with any token, whatever its scopes; "strict", body: true or, behind Envoy, envoyMCP: true, behind agentgateway extMCP: true closes that`)
	}
}
