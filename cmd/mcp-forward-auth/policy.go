package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
)

// exitRefused: the policy refuses something of what was asked.
const exitRefused = 3

// everyOther stands for the scopes that nobody has named. No scope has a space.
const everyOther = "every other scope"

// decision is what the policy says of one person and one client. Nothing is
// fetched: what an MCP server declares is not known here.
type decision struct {
	Resource string     `json:"resource"`
	Person   personAs   `json:"person"`
	Client   clientAs   `json:"client"`
	Rules    int        `json:"rules"` // that are in force at the resource
	Admitted bool       `json:"admitted"`
	Reason   string     `json:"reason,omitempty"` // why not
	Scopes   []scopeSay `json:"scopes"`
	Notes    []string   `json:"notes"`
	OK       bool       `json:"ok"`
}

type personAs struct {
	User     string   `json:"user,omitempty"`
	Email    string   `json:"email,omitempty"`
	Groups   []string `json:"groups,omitempty"`
	Provider string   `json:"provider"`
}

type clientAs struct {
	ID   string `json:"id,omitempty"`
	Kind string `json:"kind"`
}

type scopeSay struct {
	Scope    string   `json:"scope"`
	Allowed  bool     `json:"allowed"`
	Rule     string   `json:"rule,omitempty"` // that decided; none where no rule speaks of it
	Offered  bool     `json:"offered"`        // by the consent page, before it is known who the person is
	Tools    []string `json:"tools,omitempty"`
	NotTools []string `json:"not_tools,omitempty"`
}

// tryPolicy prints what the policy says.
func tryPolicy(cfg *config.Config, as, at, scopes string, asJSON bool, std streams) error {
	d, err := decide(cfg, as, at, scopes)
	if err != nil {
		return fmt.Errorf("check-config: %w", err)
	}
	if asJSON {
		enc := json.NewEncoder(std.out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		err = enc.Encode(d)
	} else {
		_, err = io.WriteString(std.out, d.String())
	}
	if err == nil && !d.OK {
		err = exitError{exitRefused, errReported}
	}
	return err
}

func decide(cfg *config.Config, as, at, scopes string) (*decision, error) {
	host, uri, err := findHost(cfg, at)
	if err != nil {
		return nil, err
	}
	given, err := readAs(as)
	if err != nil {
		return nil, err
	}
	provider, id, err := identityAs(cfg, given)
	if err != nil {
		return nil, err
	}
	client, limits, err := clientOf(cfg, given["client"])
	if err != nil {
		return nil, err
	}
	d := &decision{
		Resource: uri, Rules: len(host.Policy), Scopes: []scopeSay{}, Notes: []string{},
		Person: personAs{User: id.Subject, Email: id.Email, Groups: id.Groups, Provider: provider.PolicyID()},
		Client: clientAs{ID: given["client"], Kind: client.Kind},
	}
	if id.Subject != "" {
		d.Person.User = id.Namespace + ":" + id.Subject
	}
	if d.Reason, err = kept(cfg, provider, id, given["client"]); err != nil {
		return nil, err
	}
	d.Admitted = d.Reason == ""
	table, err := resource.NewTable(cfg.Hosts)
	if err != nil {
		return nil, err
	}
	rules := policy.New(table.All(), cfg.ProviderIDs(), func(string, string) ([]string, bool) { return nil, false }).For(uri)
	asked, err := oauth.ParseScopes(strings.ReplaceAll(scopes, ",", " "))
	if err != nil {
		return nil, err
	}
	names := []string(asked)
	if len(asked) == 0 {
		names = append(knownScopes(host), everyOther)
	}
	before, after := rules.MatchClient(client), rules.Match(id, client)
	for _, name := range names {
		v := after.Verdict(name)
		say := scopeSay{
			Scope: name, Allowed: v.Allowed && d.Admitted, Rule: v.Rule, Tools: v.Tools, NotTools: v.NotTools,
			Offered: before.Verdict(name).Allowed,
		}
		if limit := limits.exclude(name, uri); limit != "" {
			say = scopeSay{Scope: name, Rule: limit}
		}
		d.Scopes = append(d.Scopes, say)
	}
	allowed := func(s scopeSay) bool { return s.Allowed }
	if d.OK = slices.ContainsFunc(d.Scopes, allowed); len(asked) > 0 {
		d.OK = !slices.ContainsFunc(d.Scopes, func(s scopeSay) bool { return !s.Allowed })
	}
	d.note(host)
	return d, nil
}

// findHost returns the entry that a resource's URL belongs to.
func findHost(cfg *config.Config, at string) (*resource.Entry, string, error) {
	if at == "" && len(cfg.Hosts) > 1 {
		return nil, "", errors.New("--resource URL is required, because the configuration has several MCP servers")
	}
	table, err := resource.NewTable(cfg.Hosts)
	if err != nil {
		return nil, "", err
	}
	for i, r := range table.All() { // in the order of the configuration
		if found, ok := r.Host.Requested(at); at == "" || ok && found == r {
			return &cfg.Hosts[i], r.URI, nil
		}
	}
	return nil, "", fmt.Errorf("--resource: %q is no MCP server of this configuration", at)
}

// readAs reads "key=value,key=value". A backslash takes its meaning from the
// character after it.
func readAs(as string) (map[string]string, error) {
	given := map[string]string{}
	for pair := range split(as, ',') {
		if pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		_, twice := given[key]
		switch {
		case !ok || !slices.Contains([]string{"user", "email", "groups", "provider", "client"}, key):
			return nil, fmt.Errorf(`--as: %q is not one of user=…, email=…, groups=a|b, provider=…, client=…`, pair)
		case twice:
			return nil, fmt.Errorf("--as: %s comes twice", key)
		}
		given[key] = value
	}
	return given, nil
}

// split yields the parts of s between separators that have no backslash before
// them. Backslashes stay.
func split(s string, separator byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for start, i := 0, 0; ; i++ {
			switch {
			case i >= len(s):
				yield(s[start:])
				return
			case s[i] == '\\':
				i++
			case s[i] == separator:
				if !yield(s[start:i]) {
					return
				}
				start = i + 1
			}
		}
	}
}

// plain takes the backslashes away.
func plain(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// identityAs makes the identity that the provider would vouch for.
func identityAs(cfg *config.Config, given map[string]string) (*connector.Config, connector.Identity, error) {
	var ids []string
	found := -1
	for i := range cfg.Providers {
		ids = append(ids, cfg.Providers[i].PolicyID())
		if ids[i] == given["provider"] || given["provider"] == "" && len(cfg.Providers) == 1 {
			found = i
		}
	}
	if found < 0 {
		return nil, connector.Identity{}, fmt.Errorf("--as: provider=… is required: one of %s", strings.Join(ids, ", "))
	}
	p := &cfg.Providers[found]
	id := connector.Identity{Provider: p.ID, Namespace: namespace(p), Email: plain(given["email"])}
	id.Subject = plain(given["user"])
	for _, prefix := range []string{id.Namespace + ":", p.PolicyID() + ":"} {
		if rest, ok := strings.CutPrefix(id.Subject, prefix); ok {
			id.Subject = rest
			break
		}
	}
	for g := range split(given["groups"], '|') {
		if g != "" {
			id.Groups = append(id.Groups, plain(g))
		}
	}
	return p, id, nil
}

// namespace is how the subjects of a provider begin.
func namespace(p *connector.Config) string {
	name := p.Name
	at := func(address, usual string) {
		if u, err := url.Parse(address); err == nil && u.Host != "" && u.Host != usual {
			name += "@" + strings.ToLower(u.Host)
		}
	}
	switch p.Name {
	case "github":
		at(p.BaseURL, "github.com")
	case "microsoft":
		at(p.BaseURL, "login.microsoftonline.com")
	case "oauth2":
		at(p.UserinfoURL, "")
	case "oidc":
		_, name, _ = strings.Cut(p.IssuerURL, "://")
	}
	if p.ID != "" && !p.KeepSubjects {
		return p.ID + ":" + name
	}
	return name
}

// limits are those that the operator set for one client.
type limits struct {
	at     string // "clients[0]", "" for none
	client *registered
}

type registered struct{ scopes, resources []string }

func (l limits) exclude(scope, uri string) string {
	switch {
	case l.client == nil:
		return ""
	case len(l.client.resources) > 0 && !slices.Contains(l.client.resources, uri):
		return l.at + ".resources"
	case len(l.client.scopes) > 0 && !slices.Contains(l.client.scopes, scope):
		return l.at + ".scopes"
	}
	return ""
}

// clientOf returns the client with this id; without one, some client that
// registered itself.
func clientOf(cfg *config.Config, escaped string) (policy.Client, limits, error) {
	id := plain(escaped)
	for i, c := range cfg.Clients {
		if c.ID == id {
			return policy.Client{Key: oauth.ClientKey(id), Kind: rule.KindStatic}, limits{fmt.Sprintf("clients[%d]", i), &registered{c.Scopes, c.Resources}}, nil
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

// kept says why the person does not come as far as the rules, or "".
func kept(cfg *config.Config, p *connector.Config, id connector.Identity, client string) (string, error) {
	if err := policy.NewGate(*p).Admit(id); err != nil {
		return err.Error(), nil
	}
	if cfg.DenyList == "" {
		return "", nil
	}
	text, err := os.ReadFile(cfg.DenyList)
	if err != nil {
		return "", err
	}
	denied, err := revocation.ParseDenied(text)
	if err != nil {
		return "", fmt.Errorf("denyList.file: %w", err)
	}
	list := revocation.New(0, time.Now)
	list.Deny(denied)
	facts := revocation.Facts{Subject: id.Namespace + ":" + id.Subject, Email: id.Email, Client: revocation.Client(plain(client))}
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

// note says what the decision does not.
func (d *decision) note(h *resource.Entry) {
	limited, denied := false, false
	for _, s := range d.Scopes {
		limited = limited || s.Allowed && len(s.Tools)+len(s.NotTools) > 0
		denied = denied || !s.Allowed
	}
	if d.Rules == 0 {
		d.Notes = append(d.Notes, "there are no rules for this MCP server, so everybody who may sign in may ask for every scope")
	}
	if h.Rules.Body || h.Rules.ToolPolicy != rule.Enforce {
		return
	}
	switch {
	case limited:
		d.Notes = append(d.Notes, "requests of MCP revisions before 2026-07-28 do not tell their tool, so this person's are refused; body: true would decide them")
	case denied && d.OK:
		d.Notes = append(d.Notes, `toolPolicy is "enforce": requests of MCP revisions before 2026-07-28 do not tell their tool and pass with any token, whatever its scopes; "strict" or body: true closes that`)
	}
}

func (d *decision) String() string {
	var b strings.Builder
	line := func(name, value string) { fmt.Fprintf(&b, "%-10s%s\n", name, value) }
	who := []string{"provider " + d.Person.Provider}
	for _, part := range []struct{ what, value string }{{"user", d.Person.User}, {"e-mail", d.Person.Email}, {"groups", strings.Join(d.Person.Groups, " | ")}} {
		if part.value != "" {
			who = append(who, part.what+" "+part.value)
		}
	}
	line("resource", d.Resource)
	line("person", strings.Join(who, ", "))
	line("client", strings.TrimSpace(d.Client.ID+" ("+d.Client.Kind+")"))
	if !d.Admitted {
		line("refused", "before any rule: "+d.Reason)
	}
	b.WriteByte('\n')
	width := 0
	for _, s := range d.Scopes {
		width = max(width, len(s.Scope))
	}
	for _, s := range d.Scopes {
		fmt.Fprintf(&b, "  %-8s %-*s  %s\n", map[bool]string{true: "allowed", false: "refused"}[s.Allowed], width, s.Scope, s.why(d))
	}
	for _, n := range d.Notes {
		fmt.Fprintf(&b, "\nnote: %s\n", n)
	}
	return b.String()
}

func (s scopeSay) why(d *decision) string {
	why := "by " + s.Rule
	switch {
	case !d.Admitted:
		return "the person may not sign in"
	case s.Rule == "" && s.Allowed:
		why = "there are no rules"
	case s.Rule == "":
		why = "no rule allows it"
	}
	if len(s.Tools) > 0 {
		why += ", for these tools only: " + strings.Join(s.Tools, " ")
	}
	if len(s.NotTools) > 0 {
		why += ", without these tools: " + strings.Join(s.NotTools, " ")
	}
	if s.Offered && !s.Allowed {
		why += "; the consent page offers it, because it does not know the person"
	}
	return why
}
