package page

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// Consent is the question whether a client may act for the person.
// Every string except Action, Sealed and the scopes' names may be foreign text;
// this package makes it fit to show.
type Consent struct {
	Action string // the form's target, "/consent"
	Sealed string // hidden field "request"

	ClientName string // as registered; may be empty
	// ClientHost is the host whose metadata document describes the client; empty
	// means that the client registered itself and its name is not vouched for.
	ClientHost string

	RedirectURI  string // in full
	RedirectHost string // host and port, or the scheme of a private-use URI
	// UserCode is the code that the person typed, of a device that gets the answer; then
	// there is no redirect URI.
	UserCode     string
	LoopbackOnly bool // the answer goes to a program on this computer

	ServerName string // display name; ServerURL's host stands in when empty
	ServerURL  string // the resource's URI

	Scopes []ConsentScope
	// More are scopes that the app did not ask for and the person may allow as well.
	More []ConsentScope
	// Withheld are scopes that the app asked for and may not have; WithheldBefore
	// those of Scopes that the account was not given at its last sign-in here.
	Withheld, WithheldBefore []string
	// CatalogueUnavailable says that the server's own list could not be read.
	CatalogueUnavailable bool
	// Held says which requests are held to what the person allows.
	Held Held
	// NewOnly makes this a step-up: the scopes marked New come first, those the
	// client has already are folded away (but still in the form).
	NewOnly bool
	// ToStranger: either answer goes to a place that no one vouches for.
	ToStranger bool
	// Before is how the person answered this very request before, "" if they did not.
	Before Outcome
	// Again: the page comes again with the boxes as the person set them.
	Again bool

	// ActsAs: the server gets a token of the identity provider and acts there as the
	// person, with the scopes ActsWith besides those of the sign-in; none means that the
	// token is for the sign-in's alone. ActsAt is the provider's name, if it has one.
	ActsAs   bool
	ActsAt   string
	ActsWith []string
	// Calls are other MCP servers at which the server may act as the person.
	Calls []Call

	ProviderName string // "Google": where the person signs in next
	FlowID       string // quoted at the foot for support
	Notice       Notice // what was wrong with the last answer
}

// Held says which of an app's requests are held to what the person allows.
type Held string

// All of them is the zero value.
const (
	HeldAll Held = ""
	// HeldRecent: those of recent MCP revisions, which say in headers what they do.
	HeldRecent Held = "older"
	// HeldNone: none, what is used is written down only.
	HeldNone Held = "advisory"
)

// Notice says why the page is shown again.
type Notice string

// Notices.
const (
	NothingChosen Notice = "nothing"
	TooMuchChosen Notice = "large"
	ScopesChanged Notice = "changed"
)

// ConsentScope is one box to tick. Posted as scope=Name.
type ConsentScope struct {
	Name, Description string
	Checked           bool
	New               bool // not granted before
	Changed           bool // granted before, for tools that are others now
	Needed            bool // the app was refused lately because it lacked it
	Broad             bool // opens every tool of the server
	// Everything is the one scope of a server that declares none; it has no Description.
	Everything bool
	Tools      []ConsentTool
}

// ConsentTool is one tool behind a scope, as the server describes it.
type ConsentTool struct {
	Name, Title, Description string
	ReadOnly, Destructive    bool
	Changed                  bool // new, or not as it was when the person agreed
}

// foldAbove is how many scopes make a short page; beyond, those not ticked are
// folded away, the others are grouped by risk, and the buttons stay in view.
const foldAbove = 12

// manyAbove is how many boxes can be in view before the page begins with a way to
// decline, and has buttons that tick all boxes or none.
const manyAbove = 4

type consentView struct {
	Action, Sealed               string
	Client, ClientHost           string
	Redirect, RedirectHost       string
	ShortRedirect                string // "" where Redirect is short itself
	Loopback, ToStranger         bool
	UserCode                     string
	Server, ServerURL            string
	HeadClient, HeadServer       string // the names, shorter
	Main                         []scopeGroup
	Folded                       []scopeView
	More, MoreFolded             []scopeView
	CatalogueUnavailable, StepUp bool
	NothingNew, Changed          bool // in a step-up
	Held                         Held
	Choices, Many, Long, Again   bool
	Before                       Outcome
	Withheld, WithheldBefore     []string
	Acts                         bool
	ActsAt                       string
	ActsWith                     []string
	Calls                        []Call
	Provider                     string
	Notice                       Notice
}

// Call is another MCP server that the server calls for the person, with these scopes.
type Call struct {
	Server string
	Scopes []string
}

// scopeGroup is scopes of one risk; "" is for all together.
type scopeGroup struct {
	Risk   string
	Scopes []scopeView
}

// The risks, in the order of the page.
const (
	riskDestructive = "destructive"
	riskOther       = "other"
	riskReadOnly    = "readonly"
)

type scopeView struct {
	ID, Value, Name, Description string
	Checked, New, Broad, Needed  bool
	Changed                      bool
	Everything                   bool
	ReadOnly                     bool // every tool is
	Destructive                  int  // how many tools are
	Tools                        []ConsentTool
}

// Consent renders the consent page. The form posts "request" (Sealed), "scope"
// once per ticked box, and the pressed button: "decision", "allow" or "deny", or
// "select", "all" or "none". A scope without an alternative is posted without a box.
func (r *Renderer) Consent(w http.ResponseWriter, status int, v Consent) {
	r.render(w, status, referrerForm, r.locale.consent(r.frame(v.FlowID), newConsentView(v)))
}

func newConsentView(v Consent) consentView {
	out := consentView{
		Action: v.Action, Sealed: v.Sealed,
		Client: DisplayText(v.ClientName, maxName), ClientHost: displayHost(v.ClientHost),
		Redirect: displayURI(v.RedirectURI), RedirectHost: displayHost(v.RedirectHost), Loopback: v.LoopbackOnly,
		Server: serverName(v), ServerURL: displayURI(v.ServerURL),
		HeadClient: DisplayText(v.ClientName, maxHeading), HeadServer: DisplayText(serverName(v), maxHeading), ShortRedirect: abridged(v.RedirectURI),
		Choices: len(v.Scopes)+len(v.More) > 1, Long: len(v.Scopes) > foldAbove, ToStranger: v.ToStranger, UserCode: DisplayText(v.UserCode, maxUserCode),
		CatalogueUnavailable: v.CatalogueUnavailable, StepUp: v.NewOnly, Held: v.Held, Again: v.Again && v.Notice == "", Before: v.Before,
		Acts: v.ActsAs, ActsAt: DisplayText(v.ActsAt, maxName), ActsWith: scopeNames(v.ActsWith),
		Provider: DisplayText(v.ProviderName, maxName), Notice: v.Notice,
	}
	for _, c := range v.Calls {
		out.Calls = append(out.Calls, Call{DisplayText(c.Server, maxName), scopeNames(c.Scopes)})
	}
	out.Withheld, out.WithheldBefore = scopeNames(v.Withheld), scopeNames(v.WithheldBefore)
	fold := foldRule(v)
	var main []scopeView
	for i, s := range v.Scopes {
		sv := newScopeView(i, s)
		if fold(s) {
			out.Folded = append(out.Folded, sv)
		} else {
			main = append(main, sv)
		}
	}
	for i, s := range v.More {
		sv := newScopeView(len(v.Scopes)+i, s)
		if s.Needed || s.Checked {
			out.More = append(out.More, sv)
		} else {
			out.MoreFolded = append(out.MoreFolded, sv)
		}
	}
	out.NothingNew = !slices.ContainsFunc(v.Scopes, func(s ConsentScope) bool { return s.New })
	out.Changed = slices.ContainsFunc(slices.Concat(v.Scopes, v.More), func(s ConsentScope) bool { return s.Changed })
	out.Main = grouped(main)
	out.Many = len(main)+len(out.More) > manyAbove
	return out
}

// grouped groups scopes by what their tools can do, where there are so many that
// the list alone does not show it.
func grouped(scopes []scopeView) []scopeGroup {
	if len(scopes) <= foldAbove {
		if len(scopes) == 0 {
			return nil
		}
		return []scopeGroup{{Scopes: scopes}}
	}
	var out []scopeGroup
	for _, risk := range []string{riskDestructive, riskOther, riskReadOnly} {
		g := scopeGroup{Risk: risk}
		for _, s := range scopes {
			if s.risk() == risk {
				g.Scopes = append(g.Scopes, s)
			}
		}
		if len(g.Scopes) > 0 {
			out = append(out, g)
		}
	}
	return out
}

func (s scopeView) risk() string {
	switch {
	case s.Destructive > 0:
		return riskDestructive
	case s.ReadOnly:
		return riskReadOnly
	}
	return riskOther
}

func scopeNames(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, DisplayText(n, maxScope))
	}
	return out
}

// serverName falls back to the host: the person must see where access is given.
func serverName(v Consent) string {
	if name := DisplayText(v.ServerName, maxName); name != "" {
		return name
	}
	if u, err := url.Parse(v.ServerURL); err == nil && u.Host != "" {
		return displayHost(u.Host)
	}
	return displayURI(v.ServerURL)
}

// foldRule says which scopes start folded away: in a step-up what the client
// has already; on a long page what is not ticked. Never all of them.
func foldRule(v Consent) func(ConsentScope) bool {
	fold := func(ConsentScope) bool { return false }
	switch {
	case v.NewOnly:
		fold = func(s ConsentScope) bool { return !s.New && !s.Changed }
	case len(v.Scopes) > foldAbove:
		fold = func(s ConsentScope) bool { return !s.Checked }
	}
	for _, s := range v.Scopes {
		if !fold(s) {
			return fold
		}
	}
	return func(ConsentScope) bool { return false }
}

func newScopeView(i int, s ConsentScope) scopeView {
	out := scopeView{
		ID: "scope-" + strconv.Itoa(i), Value: s.Name,
		Name: DisplayText(s.Name, maxScope), Description: DisplayText(s.Description, maxDescription),
		Checked: s.Checked, New: s.New, Changed: s.Changed, Needed: s.Needed, Broad: s.Broad && len(s.Tools) > 1, Everything: s.Everything, ReadOnly: len(s.Tools) > 0,
	}
	for _, t := range s.Tools {
		if t.Destructive {
			out.Destructive++
		}
		out.ReadOnly = out.ReadOnly && t.ReadOnly && !t.Destructive
		out.Tools = append(out.Tools, ConsentTool{
			Name: DisplayText(t.Name, maxToolName), Title: DisplayText(t.Title, maxToolTitle),
			Description: DisplayText(t.Description, maxDescription),
			// A tool that says both is believed in the worse.
			ReadOnly: t.ReadOnly && !t.Destructive, Destructive: t.Destructive, Changed: t.Changed,
		})
	}
	return out
}

// Described reports whether the box is labelled with more than the scope's name.
func (s scopeView) Described() bool { return s.Everything || s.Description != "" }

// noted reports whether something stands below the label.
func (s scopeView) noted() bool { return s.Described() || s.New || s.Changed || s.Broad || s.Needed }
