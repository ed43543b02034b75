package page

import (
	"html/template"
	"net/http"
	"strings"
)

// Login asks for a user name and a password (the static provider).
type Login struct {
	Action string // the form's target
	Sealed string // hidden field "request", left out when empty
	State  string // hidden field "state", left out when empty

	Username  string // what was typed before, to be kept after a mistake
	ErrorText string // announced; one of our sentences

	// Others: there are other ways to sign in. A second button posts "other".
	Others bool

	ServerName string
	ClientName string
	FlowID     string
}

// Login renders the sign-in page. The form posts "username" and "password".
func (r *Renderer) Login(w http.ResponseWriter, status int, v Login) {
	v.ErrorText = DisplayText(v.ErrorText, maxParagraph)
	v.ServerName = DisplayText(v.ServerName, maxName)
	v.ClientName = DisplayText(v.ClientName, maxName)
	r.render(w, status, "login", referrerForm, v.FlowID, v)
}

// Error is a page instead of a redirect. Empty texts have a default.
type Error struct {
	Status int    // 400 to 599; anything else is shown as 500
	Title  string // what happened, in a few words
	What   string // what happened, in a sentence or two
	Next   string // what the person can do now
	Detail string // shown escaped and unlinked, for example the offending redirect URI

	// ContinueURL is the one link to a place that a client named. Its type switches off
	// the template's scheme filter, because private-use schemes are legitimate:
	// only a redirect URI that the matcher produced may be passed, never request input.
	ContinueURL   template.URL
	ContinueLabel string

	FlowID string
}

// Error renders an error page.
func (r *Renderer) Error(w http.ResponseWriter, v Error) {
	if v.Status < 400 || v.Status > 599 {
		v.Status = http.StatusInternalServerError
	}
	v.Title = DisplayText(v.Title, maxDescription)
	v.What = DisplayText(v.What, maxParagraph)
	v.Next = DisplayText(v.Next, maxParagraph)
	v.Detail = displayDetail(v.Detail)
	v.ContinueURL = linkable(v.ContinueURL)
	v.ContinueLabel = DisplayText(v.ContinueLabel, maxName)
	r.render(w, v.Status, "error", referrerNone, v.FlowID, v)
}

// Done is the end of a conversation in this window. Empty texts have a default.
type Done struct {
	Title, Text string
	ClientName  string // "return to …"
	// ContinueURL and ContinueLabel: as in Error.
	ContinueURL   template.URL
	ContinueLabel string
	FlowID        string
}

// Done renders the page that says that the window may be closed.
func (r *Renderer) Done(w http.ResponseWriter, v Done) {
	v.Title = DisplayText(v.Title, maxDescription)
	v.Text = DisplayText(v.Text, maxParagraph)
	v.ClientName = DisplayText(v.ClientName, maxName)
	v.ContinueURL = linkable(v.ContinueURL)
	v.ContinueLabel = DisplayText(v.ContinueLabel, maxName)
	r.render(w, http.StatusOK, "done", referrerNone, v.FlowID, v)
}

// displayDetail shows a URI as on the wire and any other text as text.
func displayDetail(s string) string {
	if strings.ContainsAny(s, " \t\n") {
		return DisplayText(s, maxURI)
	}
	return displayURI(s)
}

// linkable is a second lock behind the redirect matcher: a scheme that a
// browser itself acts on is never a link, whatever was passed.
func linkable(u template.URL) template.URL {
	scheme, _, ok := strings.Cut(string(u), ":")
	if !ok || scheme == "" {
		return ""
	}
	for _, c := range scheme {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.", c) {
			return ""
		}
	}
	switch strings.ToLower(scheme) {
	case "javascript", "vbscript", "data", "blob", "file", "filesystem", "about", "view-source":
		return ""
	}
	return u
}
