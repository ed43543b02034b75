package whatif

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/issuer"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// decideExternal answers q for a person who comes with a token of another
// authorization server. Which scopes are in it is not known, so the answer is about
// those that it may give.
func (s Service) decideExternal(q Question, host *resource.Entry, uri, url string, given map[string]string) (*Decision, error) {
	server := s.server(host, url)
	if server == nil {
		return nil, fmt.Errorf("--as: %s takes no tokens of the issuer %q", uri, url)
	}
	id := connector.Identity{Provider: url, Namespace: server.Namespace, Subject: plain(given["user"]), Email: plain(given["email"]), Groups: groups(given)}
	if own := issuer.ClientNamespace + id.Namespace; strings.HasPrefix(id.Subject, own+":") {
		id.Namespace = own
	}
	id.Subject = strings.TrimPrefix(id.Subject, id.Namespace+":")
	client := strings.TrimPrefix(plain(given["client"]), server.Namespace+":")
	d := &Decision{
		Resource: uri, Rules: len(host.Policy), Scopes: []Scope{}, Notes: []string{},
		Person: Person{Email: id.Email, Groups: id.Groups, Provider: url}, Client: Client{ID: client, Kind: rule.KindExternal},
	}
	if id.Subject != "" {
		d.Person.User = id.FullSubject()
	}
	var err error
	if d.Reason, err = s.denied(id, server.Namespace+":"+client); err != nil {
		return nil, err
	}
	if len(server.Clients) > 0 && client != "" && !slices.Contains(server.Clients, client) {
		d.Reason = string(reasons.ClientNotAccepted)
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
	match := rules.MatchOutsider(server.Outsider(id, client))
	for _, name := range names {
		v := match.Verdict(name)
		d.Scopes = append(d.Scopes, Scope{Scope: name, Allowed: v.Allowed && d.Admitted, Rule: v.Rule, Tools: v.Tools, NotTools: v.NotTools})
	}
	d.conclude(asked)
	d.Notes = append(d.Notes, "which of these scopes a token has is for its issuer to say")
	d.note(host)
	return d, nil
}

// server returns the entry of an issuer whose tokens the host takes, nil for none.
func (s Service) server(host *resource.Entry, url string) *issuer.Config {
	for i := range s.Hosts {
		if &s.Hosts[i] != host || i >= len(s.AuthorizationServers) {
			continue
		}
		for j := range s.AuthorizationServers[i] {
			if c := &s.AuthorizationServers[i][j]; c.Issuer == url {
				return c
			}
		}
	}
	return nil
}
