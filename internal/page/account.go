package page

import (
	"net/http"
	"slices"
	"time"
)

// Account shows a person what they allowed, and lets them end it.
type Account struct {
	Form      string // hidden field "form" of every form
	EndAction string // posts "id", or "all"
	KeyAction string // posts "server", "name", "scope" and "days"
	SignOut   string // link
	Back      string // link, from the page that shows a key

	Name, Email, Subject string

	Apps, Keys, Browsers []AccountEntry
	KeyServers           []KeyServer
	// Complete: what is not on the page is not there.
	Complete bool
	// Forgotten: there are more entries than the page can show.
	Forgotten bool
	Notice    AccountNotice
	// NewKey is a key that was just made: the page shows it, and nothing else.
	NewKey string
}

// AccountEntry is an app, a key or a browser.
type AccountEntry struct {
	ID         string
	Name       string // "" for an app without one
	VouchedBy  string // host, "" for nothing
	Server     string
	Host       string
	Scopes     []string
	MoreScopes int
	Tools      int // that the scopes open, 0 for unknown
	This       bool
	Since      time.Time
	Used       time.Time
	Until      time.Time
}

// KeyServer is an MCP server that a person may make a key for.
type KeyServer struct {
	URI, Name   string
	Scopes      []ConsentScope
	Days        []int
	Unavailable bool // which scopes there are is not known now
	// SignInDays is after how many days without a sign-in the key rests, 0 for never.
	SignInDays int
}

// AccountNotice is what a page says about the last form.
type AccountNotice string

// Notices.
const (
	AccountEnded       AccountNotice = "ended"
	AccountNoName      AccountNotice = "name"
	AccountNoScopes    AccountNotice = "scopes"
	AccountTooManyKeys AccountNotice = "many"
	AccountUsedTwice   AccountNotice = "twice"
)

// AccountNotices lists every notice.
var AccountNotices = []AccountNotice{AccountEnded, AccountNoName, AccountNoScopes, AccountTooManyKeys, AccountUsedTwice}

// who names the person.
func (v *Account) who() string {
	for _, s := range []string{v.Email, v.Name} {
		if s != "" {
			return s
		}
	}
	return v.Subject
}

// Account renders the page.
func (r *Renderer) Account(w http.ResponseWriter, v Account) {
	for _, s := range []*string{&v.Name, &v.Email, &v.Subject} {
		*s = DisplayText(*s, maxName)
	}
	v.Apps, v.Keys, v.Browsers = shownEntries(v.Apps), shownEntries(v.Keys), shownEntries(v.Browsers)
	v.KeyServers = slices.Clone(v.KeyServers)
	for i := range v.KeyServers {
		s := &v.KeyServers[i]
		s.Name = DisplayText(s.Name, maxName)
		s.Scopes = slices.Clone(s.Scopes)
		for j := range s.Scopes {
			s.Scopes[j].Description = DisplayText(s.Scopes[j].Description, maxDescription)
		}
	}
	status := http.StatusOK
	if v.Notice != "" && v.Notice != AccountEnded {
		status = http.StatusBadRequest
	}
	referrer := referrerForm
	if v.NewKey != "" { // a page without a form
		referrer = referrerNone
	}
	r.render(w, status, referrer, r.locale.account(r.frame(""), v))
}

func shownEntries(list []AccountEntry) []AccountEntry {
	list = slices.Clone(list)
	for i := range list {
		e := &list[i]
		e.Name, e.Server = DisplayText(e.Name, maxName), DisplayText(e.Server, maxName)
		e.VouchedBy, e.Host = displayHost(e.VouchedBy), displayHost(e.Host)
		e.Scopes = slices.Clone(e.Scopes)
		for j := range e.Scopes {
			e.Scopes[j] = DisplayText(e.Scopes[j], maxScope)
		}
	}
	return list
}

// SignOut asks whether to sign out.
type SignOut struct {
	Action   string
	Form     string // hidden field "form"
	Host     string
	Provider string // that can end its own session too, "" for none; posts "provider"
}

// SignOut renders the page.
func (r *Renderer) SignOut(w http.ResponseWriter, v SignOut) {
	v.Host, v.Provider = displayHost(v.Host), DisplayText(v.Provider, maxName)
	r.render(w, http.StatusOK, referrerForm, r.locale.signOut(r.frame(""), v))
}

// SignedOut says that the browser has no session any more.
type SignedOut struct {
	Host  string
	Again Link
}

// SignedOut renders the page.
func (r *Renderer) SignedOut(w http.ResponseWriter, v SignedOut) {
	v.Host = displayHost(v.Host)
	r.render(w, http.StatusOK, referrerNone, r.locale.signedOut(r.frame(""), v))
}

// moment is a time as pages show it: the same in every language, and in UTC.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
