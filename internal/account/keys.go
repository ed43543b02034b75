package account

import (
	"crypto/rand"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/catalog"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/personal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/people"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

const (
	// maxKeys is how many keys a person may have.
	maxKeys = 20
	// maxKeyName bounds the name of a key, in characters.
	maxKeyName = 60
	// maxKeyScopes bounds the scopes of a key, in bytes: it travels in a header.
	maxKeyScopes = 1 << 10
)

func newID() string { return rand.Text() }

// keyServers are the MCP servers of the host that the person may make keys for.
func (e *Endpoint) keyServers(v *visit) (list []page.KeyServer) {
	for _, r := range v.host.Resources {
		if !r.PersonalKeys {
			continue
		}
		s := page.KeyServer{URI: r.URI, Name: r.DisplayName, Days: e.days(), SignInDays: e.signInDays()}
		cat := e.Catalogue(v.Context(), r)
		s.Unavailable = cat.Unavailable
		for _, name := range e.grantable(v, r, cat) {
			scope := page.ConsentScope{Name: name}
			if of, ok := cat.Scope(name); ok {
				scope.Description, scope.Everything, scope.Broad = of.Description, of.IsDefault(), len(of.Tools) == len(cat.Tools)
				for _, t := range of.Tools {
					scope.Tools = append(scope.Tools, page.ConsentTool{Name: t})
				}
			}
			s.Scopes = append(s.Scopes, scope)
		}
		list = append(list, s)
	}
	return list
}

// grantable are the scopes that the rules allow the person through such a key.
func (e *Endpoint) grantable(v *visit, r *resource.Resource, cat *catalog.Catalogue) oauth.Scopes {
	if cat.Unavailable {
		return nil
	}
	return e.Policy.For(r.URI).Rematch(v.session.Identity, v.session.InGroups, personal.Client()).Narrow(cat.ScopeNames())
}

// days are the lives that a key may have.
func (e *Endpoint) days() (list []int) {
	most := int(e.KeyLifetime / (24 * time.Hour))
	for _, n := range []int{7, 30, 90, 180, 365} {
		if n < most {
			list = append(list, n)
		}
	}
	return append(list, most)
}

// signInDays is after how many days without a sign-in a key rests, 0 where each ends
// before that.
func (e *Endpoint) signInDays() int {
	if e.KeySignIns >= e.KeyLifetime {
		return 0
	}
	return max(1, int(e.KeySignIns/(24*time.Hour)))
}

// MakeKey answers POST /account/keys. The answer is the one place where the key is seen.
func (e *Endpoint) MakeKey(w http.ResponseWriter, r *http.Request, host *resource.Host) {
	if !host.Account {
		notHere(w)
		return
	}
	v := e.submit(w, r, host)
	if v == nil {
		return
	}
	key, name, notice := e.wanted(v)
	if notice != "" {
		e.show(w, v, notice, "")
		return
	}
	record, err := e.People.Of(r.Context(), v.subject(), e.Now())
	if err != nil {
		e.unavailable(w, v, err)
		return
	}
	count := 0
	for _, entry := range record.Entries {
		if entry.Kind == people.Key {
			count++
		}
	}
	if count >= maxKeys {
		e.show(w, v, page.AccountTooManyKeys, "")
		return
	}
	first, err := e.Guard.Redeem(r.Context(), "account form "+v.sealed.ID, e.Now().Add(formTTL))
	switch {
	case err != nil:
		e.unavailable(w, v, err)
		return
	case !first:
		e.show(w, v, page.AccountUsedTwice, "")
		return
	}
	e.made(w, v, key, name)
}

// made makes the key and shows it. It is written down first: what the person could
// not see later they could not end.
func (e *Endpoint) made(w http.ResponseWriter, v *visit, key personal.Key, name string) {
	id, text, err := e.Keys.Make(key, v.host)
	if err == nil {
		err = e.People.Note(v.Context(), people.Who{Subject: v.subject(), Email: v.session.Identity.Email, Name: v.session.Identity.Name}, people.Entry{
			ID: id, Kind: people.Key, Client: personal.ClientID, Name: name, Host: v.host.Name, Resource: key.Resource, Scopes: key.Scopes,
			Since: key.Made, Used: key.Made, Until: key.Expires,
		})
	}
	if err != nil {
		e.unavailable(w, v, err)
		return
	}
	written := v.entry(audit.KeyMade, "")
	written.Family, written.Client, written.Name, written.Resource, written.Scope = id, personal.ClientID, name, key.Resource, key.Scopes.String()
	e.Audit.Write(v.Context(), written)
	e.show(w, v, "", text)
}

// wanted reads the form. The notice says what is missing.
func (e *Endpoint) wanted(v *visit) (key personal.Key, name string, notice page.AccountNotice) {
	name = page.DisplayText(v.form.Get("name"), maxKeyName)
	var r *resource.Resource
	for _, own := range v.host.Resources {
		if own.PersonalKeys && own.URI == v.form.Get("server") {
			r = own
		}
	}
	days, err := strconv.Atoi(v.form.Get("days"))
	switch {
	case strings.TrimSpace(name) == "":
		return key, name, page.AccountNoName
	case r == nil, err != nil, days < 1, days > int(e.KeyLifetime/(24*time.Hour)):
		return key, name, page.AccountNoScopes
	}
	cat := e.Catalogue(v.Context(), r)
	scopes := e.grantable(v, r, cat).Intersect(v.form["scope"])
	if len(scopes) == 0 || scopes.Len() > maxKeyScopes {
		return key, name, page.AccountNoScopes
	}
	agreed := ""
	if r.Rules.HoldChanged {
		agreed = cat.Agree(scopes)
	}
	now := e.Now()
	return personal.Key{
		Agreed:   agreed,
		Identity: v.session.Identity, InGroups: v.session.InGroups, Resource: r.URI, Scopes: scopes, Made: now.Unix(), Expires: now.AddDate(0, 0, days).Unix(),
	}, name, ""
}
