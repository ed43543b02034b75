package whatif

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/apikey"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// decideKey answers q for the API key with that name. Its entry says who it stands for.
func (s Service) decideKey(q Question, host *resource.Entry, uri, name string, given map[string]string) (*Decision, error) {
	if len(given) > 1 {
		return nil, errors.New("--as: an API key stands for what its entry says; name it alone, as in client=apikey:ci")
	}
	i := slices.IndexFunc(s.Keys, func(k apikey.Key) bool { return k.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("--as: there is no API key with the name %q", name)
	}
	key := &s.Keys[i]
	who := key.Outsider()
	d := &Decision{
		Resource: uri, Rules: len(host.Policy), Scopes: []Scope{}, Notes: []string{},
		Person: Person{User: who.Person.FullSubject(), Groups: key.Groups, Provider: rule.KeyNamespace},
		Client: Client{ID: given["client"], Kind: rule.KindKey},
	}
	var err error
	if d.Reason, err = s.denied(who.Person, given["client"]); err != nil {
		return nil, err
	}
	if d.Reason == "" {
		d.Reason = string(keyRefusal(key, host, uri))
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
	if !asked {
		names = key.Scopes
	}
	match := rules.MatchOutsider(who)
	for _, name := range names {
		say := Scope{Scope: name, Rule: fmt.Sprintf("the scopes of the API key %s", key.Name)}
		if slices.Contains(key.Scopes, name) {
			v := match.Verdict(name)
			say = Scope{Scope: name, Allowed: v.Allowed && d.Admitted, Rule: v.Rule, Tools: v.Tools, NotTools: v.NotTools}
		}
		d.Scopes = append(d.Scopes, say)
	}
	d.conclude(asked)
	if len(key.Tools) > 0 {
		d.Notes = append(d.Notes, fmt.Sprintf("of the tools that these scopes open the key may call %q alone", key.Tools))
	}
	return d, nil
}

// keyRefusal says why the key is refused before any rule is looked at, or "".
func keyRefusal(key *apikey.Key, host *resource.Entry, uri string) reasons.Reason {
	switch {
	case !host.APIKeys, len(key.Resources) > 0 && !slices.Contains(key.Resources, uri):
		return reasons.APIKeyNotAccepted
	case !key.Expires.IsZero() && !time.Now().Before(key.Expires):
		return reasons.APIKeyExpired
	}
	return ""
}
