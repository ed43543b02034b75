package whatif

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/session"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// Page is what is said of a page of an MCP host for the person's own browser.
type Page struct {
	Page    string `json:"page"`            // its URL
	Scope   string `json:"scope,omitempty"` // that the rules must allow, "" for none
	Allowed bool   `json:"allowed"`
	Rule    string `json:"rule,omitempty"` // that decided; none where no rule speaks of it
}

// decidePages answers q for the person's own browser: at the page that the question
// names, or at all that are beside the MCP server.
func (s Service) decidePages(q Question, given map[string]string) (*Decision, error) {
	if q.Scopes != "" {
		return nil, errors.New("--scopes: a page has one scope, which the configuration names; leave it out with client=browser")
	}
	pages, err := s.pages(q.Resource)
	if err != nil {
		return nil, err
	}
	provider, id, err := s.identity(given)
	if err != nil {
		return nil, err
	}
	server := pages[0].Server()
	d := &Decision{
		Resource: server.URI, Scopes: []Scope{}, Notes: []string{},
		Person: Person{User: id.Subject, Email: id.Email, Groups: id.Groups, Provider: provider.PolicyID()},
		Client: Client{ID: session.ClientID, Kind: rule.KindBrowser},
	}
	if id.Subject != "" {
		d.Person.User = id.FullSubject()
	}
	if d.Reason, err = s.refusal(provider, id, session.ClientID); err != nil {
		return nil, err
	}
	d.Admitted = d.Reason == ""
	unknown := func(string, string) ([]string, bool) { return nil, false }
	rules := policy.New([]*resource.Resource{server}, s.providerIDs(), unknown).For(server.URI)
	match := rules.Match(id, session.Client())
	for _, p := range pages {
		say := Page{Page: p.URI, Scope: p.Page.Scope, Allowed: d.Admitted}
		if say.Scope != "" {
			v := match.Verdict(say.Scope)
			say.Allowed, say.Rule = v.Allowed && d.Admitted, v.Rule
		}
		d.Pages = append(d.Pages, say)
		d.OK = d.OK || say.Allowed
	}
	return d, nil
}

// pages are those that a URL is about: the page that it is of, or else all that are
// beside the MCP server. There is at least one.
func (s Service) pages(at string) ([]*resource.Resource, error) {
	if at == "" {
		host, uri, err := s.host("")
		if err != nil {
			return nil, err
		}
		if at = uri; len(host.Pages) == 0 {
			return nil, errors.New("--as: client=browser is for pages, and the configuration has none (proxy.hosts[].pages)")
		}
	}
	table, err := resource.NewTable(s.Hosts)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(at)
	if err != nil {
		return nil, fmt.Errorf("--resource: %w", err)
	}
	host := table.Host(u.Host)
	if host == nil {
		return nil, fmt.Errorf("--resource: %q is at no host of this configuration", at)
	}
	here := host.At(u.EscapedPath())
	if here != nil && here.Page != nil {
		return []*resource.Resource{here}, nil
	}
	var beside []*resource.Resource
	for _, p := range host.Pages {
		if p.Beside == here {
			beside = append(beside, p)
		}
	}
	if len(beside) == 0 {
		return nil, fmt.Errorf("--resource: %q is neither a page nor an MCP server with pages beside it", at)
	}
	return beside, nil
}
