package page

import (
	"net/http"
	"slices"
)

// Choose asks with which identity provider the person wants to sign in.
type Choose struct {
	Action string // the form's target
	State  string // hidden field "state"

	Providers  []ChooseProvider
	ServerName string
	ClientName string
	FlowID     string
}

// ChooseProvider is one button.
type ChooseProvider struct {
	ID   string // posted as "choice"
	Name string // "Google"; "" means a user name and a password on our own page
	Last bool   // chosen the last time: it stands first
}

// Choose renders the page. The form posts "state" and "choice",
// or "decision" as that of Login.
func (r *Renderer) Choose(w http.ResponseWriter, v Choose) {
	v.ServerName = DisplayText(v.ServerName, maxName)
	v.ClientName = DisplayText(v.ClientName, maxName)
	v.Providers = slices.Clone(v.Providers)
	for i, p := range v.Providers {
		v.Providers[i].Name = DisplayText(p.Name, maxName)
	}
	slices.SortStableFunc(v.Providers, func(a, b ChooseProvider) int {
		switch {
		case a.Last == b.Last:
			return 0
		case a.Last:
			return -1
		}
		return 1
	})
	r.render(w, http.StatusOK, referrerForm, r.locale.choose(r.frame(v.FlowID), v))
}
