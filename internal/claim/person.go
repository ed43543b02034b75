package claim

import (
	"context"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
)

// Names are the claims in which a provider describes a person. An empty Groups
// reads none.
type Names struct {
	Email, Name, Groups string
	GroupsFilter        []string // see Groups
	// Verified reports whether the source of an address says that it is verified.
	Verified func(email string, source Set) bool
}

// Fill sets what id lacks of e-mail address, name and groups from source. A claim
// that is there and cannot be read is reported, and marked as unknown.
func Fill(ctx context.Context, id *connector.Identity, source Set, n Names) {
	if id.Email == "" {
		fillEmail(ctx, id, source, n)
	}
	if id.Name == "" {
		name, problem := source.Text(n.Name)
		report(ctx, n.Name, problem)
		id.Name = Name(name)
	}
	if n.Groups == "" || len(id.Groups) > 0 {
		return
	}
	groups, problem := source.Groups(n.Groups)
	if problem == "" && source.Elsewhere(n.Groups) {
		problem = "the provider left it out and names another place for it (_claim_names)"
	}
	KeepGroups(ctx, id, groups, problem, n)
}

// KeepGroups sets the groups of id. A problem says that there are others, which
// cannot be read.
func KeepGroups(ctx context.Context, id *connector.Identity, groups []string, problem string, n Names) {
	kept, dropped := Groups(groups, n.GroupsFilter)
	id.Groups = kept
	claim := n.Groups
	if claim == "" {
		claim = "groups"
	}
	for _, p := range []string{problem, dropped} {
		id.Unknown.Groups = id.Unknown.Groups || p != ""
		report(ctx, claim, p)
	}
}

// fillEmail sets an address only with its own source's word that it is verified.
func fillEmail(ctx context.Context, id *connector.Identity, source Set, n Names) {
	text, problem := source.Text(n.Email)
	email := Email(text)
	if text != "" && email == "" {
		problem = "it is text that is not an e-mail address"
	}
	switch {
	case problem != "":
		id.Unknown.Email = true
		report(ctx, n.Email, problem)
	case email != "" && n.Verified(email, source):
		id.Email, id.Unknown.Email = email, false
	}
}

func report(ctx context.Context, claim, problem string) {
	if problem != "" {
		connector.Notify(ctx, connector.Notice{Kind: connector.ClaimLeftOut, Name: claim, Problem: problem})
	}
}
