package policy

import (
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
)

// Outsider is the person and the client of a credential that this service did not
// issue, or of a machine that gets a token without a sign-in.
type Outsider struct {
	// Person's Provider is what rules call the one who vouches for the person: the
	// issuer's URL, say, which is not the id of any configured provider.
	Person connector.Identity
	// SameAs is the id of the configured provider that vouches for the same people,
	// "" for none. What a rule denies to people of that provider it denies to these
	// too; what it allows to them only with their name, because they have not passed
	// the provider's own conditions.
	SameAs string
	Client Client
	// ClientID is the client's id as the issuer spells it. What a rule denies to a
	// client of this service with that id it denies to this one too.
	ClientID string
	// Actors are who acts for the person, the one who acts now first, see actor.Names;
	// Roles what a platform says of its workload.
	Actors, Roles []string
}

// MatchOutsider is Match for the person and the client of such a credential.
func (r *Rules) MatchOutsider(o *Outsider) Match {
	p := person{Identity: o.Person, voucher: o.Person.Provider, sameAs: o.SameAs, actors: o.Actors, roles: o.Roles}
	c := o.Client
	if o.ClientID != "" {
		c.alias = oauth.ClientKey(o.ClientID)
	}
	return r.match(p, c)
}
