package whatif

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// decideAgent answers q for who shows an assertion of a trusted issuer. Its signature
// and its times are not looked at: the answer is what it would get if both were right.
func (s Service) decideAgent(q Question, host *resource.Entry, uri string) (*Decision, error) {
	issuer := host.Scheme + "://" + host.Host
	registry := assertion.NewRegistry(s.Kinds, s.TrustedIssuers, func(c *assertion.Config) *jwks.Set {
		return jwks.NewSet(c.Issuer, nil, func(jwks.Fetch) {}, time.Now)
	}, time.Now)
	g, err := registry.Dry(q.Agent, assertion.Place{Issuer: issuer, TokenEndpoint: issuer + "/token", Client: q.AgentClient})
	if err != nil {
		if refused, ok := errors.AsType[*oauth.Error](err); ok && refused.Cause != nil {
			err = refused.Cause
		}
		return nil, fmt.Errorf("--as-agent: the assertion is refused: %w", err)
	}
	id, kind := g.Person.FullSubject(), rule.KindWorkload
	var limits limits
	client := policy.Client{Key: oauth.ClientKey(id), Kind: kind}
	if q.AgentClient != "" {
		id = q.AgentClient
		if client, limits, err = s.client(id); err != nil {
			return nil, err
		}
	}
	d := &Decision{
		Resource: uri, Rules: len(host.Policy), Scopes: []Scope{}, Notes: []string{},
		Person: Person{User: g.Person.FullSubject(), Email: g.Person.Email, Groups: g.Person.Groups, Provider: g.Issuer().Issuer, Actors: g.Actor.Names(), Roles: g.Roles},
		Client: Client{ID: id, Kind: client.Kind},
	}
	if d.Reason, err = s.denied(g.Person, id); err != nil {
		return nil, err
	}
	d.Admitted = d.Reason == ""
	rules, err := s.rules(uri)
	if err != nil {
		return nil, err
	}
	match := rules.MatchOutsider(&policy.Outsider{
		Person: g.Person, SameAs: g.Issuer().SameAs, Client: client, ClientID: id, Actors: g.Actor.Names(), Roles: g.Roles,
	})
	if err := d.judgeAgent(q, g, match, limits); err != nil {
		return nil, err
	}
	d.note(host)
	return d, nil
}

// judgeAgent adds what the rules of the issuer give of each scope, and what the policy
// leaves of that.
func (d *Decision) judgeAgent(q Question, g *assertion.Grantee, match policy.Match, limits limits) error {
	given, by := g.May(d.Resource, q.AgentClient)
	asked, err := oauth.ParseScopes(strings.ReplaceAll(q.Scopes, ",", " "))
	if err != nil {
		return err
	}
	names := asked
	if len(names) == 0 {
		names = given
	}
	for _, name := range names {
		v := match.Verdict(name)
		say := Scope{Scope: name, Allowed: v.Allowed && d.Admitted, Rule: v.Rule, Tools: v.Tools, NotTools: v.NotTools}
		if !slices.Contains(given, name) {
			say = Scope{Scope: name, Rule: "the rules of " + g.Issuer().At}
		} else if limit := limits.exclude(name, d.Resource); limit != "" {
			say = Scope{Scope: name, Rule: limit}
		}
		d.Scopes = append(d.Scopes, say)
	}
	d.conclude(len(asked) > 0)
	from := "no rule of " + g.Issuer().At + " gives anything at this MCP server"
	if len(by) > 0 {
		from = "scopes are given by " + strings.Join(by, ", ")
	}
	d.Notes = append(d.Notes, from, "the signature and the times of the assertion were not looked at")
	return nil
}
