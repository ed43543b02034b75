// Package operator owns /people at the management listener: who has access to what,
// and the end of it, for operators and their offboarding scripts.
//
// Its invariant: nothing is told or ended without the operator's token, and what is
// ended for a person is ended whether or not a record knows of it.
package operator

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/people"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Settings is the `operators` section.
type Settings struct {
	// File with the token, of at least 32 characters, that `mcp-forward-auth sessions` and scripts present at /people of the management listener. See docs/account.md. Default: none, and there is no /people.
	Token conf.Secret `json:"tokenFile" file:"line"`
}

// minToken is the least length of the token.
const minToken = 32

// Resolve checks the section.
func (s *Settings) Resolve(c conf.Section) {
	at := c.Key("tokenFile")
	if c.IsSet(at) && !c.Wrong(at) && len(s.Token.Reveal()) < minToken {
		c.Add(at, "names a file with fewer than %d characters; `openssl rand -hex 32` makes a token", minToken)
	}
}

// On reports whether there is such a token.
func (s *Settings) On() bool { return s.Token.Reveal() != "" }

// Path is where records are read; EndPath is where something is ended.
const (
	Path    = "/people"
	EndPath = Path + "/end"
)

// Endpoint serves the paths.
type Endpoint struct {
	Token  conf.Secret
	People *people.Records
	Ended  *revocation.List
	Audit  *audit.Log
	Now    func() time.Time
	// GrantLifetime is how long after now anything that was granted before can live.
	GrantLifetime time.Duration
}

// Register puts the paths on the multiplexer of the management listener.
func (e *Endpoint) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET "+Path, e.authenticated(e.list))
	mux.HandleFunc("POST "+EndPath, e.authenticated(e.end))
}

// authenticated lets operators through.
func (e *Endpoint) authenticated(next http.HandlerFunc) http.HandlerFunc {
	want := sha256.Sum256([]byte(e.Token.Reveal()))
	return func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(strings.TrimSpace(token)))
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", "Bearer")
			web.JSON(w, http.StatusUnauthorized, web.ErrorBody{Error: "invalid_token", Description: "present the token of operators.tokenFile"})
			return
		}
		next(w, r)
	}
}

// List is the answer to GET /people.
type List struct {
	// Complete is false where the records are in the memory of this replica alone.
	Complete bool            `json:"complete"`
	People   []people.Record `json:"people"`
}

// list answers GET /people with the people that the query names: by subject, email
// or the resource that they gave access to. Without any it is everybody.
func (e *Endpoint) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	subject, email, resource := q.Get("subject"), q.Get("email"), q.Get("resource")
	out := List{Complete: e.People.Complete, People: []people.Record{}}
	add := func(v people.Record) error {
		if email != "" && !strings.EqualFold(email, v.Email) {
			return nil
		}
		if resource != "" {
			v.Entries = of(v.Entries, resource)
			if len(v.Entries) == 0 {
				return nil
			}
		}
		out.People = append(out.People, v)
		return nil
	}
	var err error
	if subject != "" {
		var v people.Record
		if v, err = e.People.Of(r.Context(), subject, e.Now()); err == nil && len(v.Entries) > 0 {
			err = add(v)
		}
	} else {
		err = e.People.All(r.Context(), e.Now(), add)
	}
	if err != nil {
		unavailable(w)
		return
	}
	web.JSON(w, http.StatusOK, out)
}

func of(entries []people.Entry, resource string) (out []people.Entry) {
	for _, entry := range entries {
		if entry.Resource == resource {
			out = append(out, entry)
		}
	}
	return out
}

// End is the body of POST /people/end: everything of a person by subject or email, or
// one entry of theirs by ID.
type End struct {
	Subject string `json:"subject,omitempty"`
	Email   string `json:"email,omitempty"`
	ID      string `json:"id,omitempty"`
}

func (e *Endpoint) end(w http.ResponseWriter, r *http.Request) {
	var asked End
	body, err := web.Body(w, r, 4<<10)
	if err == nil {
		d := json.NewDecoder(strings.NewReader(string(body)))
		d.DisallowUnknownFields()
		err = d.Decode(&asked)
	}
	if err != nil || (asked.Subject == "") == (asked.Email == "") || asked.ID != "" && asked.Subject == "" {
		web.JSON(w, http.StatusBadRequest, web.ErrorBody{Error: "invalid_request", Description: "the body must be a JSON object with subject, email, or subject and id"})
		return
	}
	entry := audit.Entry{Event: audit.PersonEnded, Reason: reasons.EndedByOperator, Subject: asked.Subject, Email: asked.Email, Family: asked.ID}
	now := e.Now()
	until := now.Add(e.GrantLifetime)
	switch {
	case asked.ID != "":
		entry.Event = audit.FamilyEnded
		err = e.Ended.RevokeFamily(asked.ID, until)
	case asked.Subject != "":
		err = e.Ended.EndPerson(revocation.BySubject(asked.Subject), now, until)
	default:
		err = e.Ended.EndPerson(revocation.ByEmail(asked.Email), now, until)
	}
	if err != nil && !errors.Is(err, revocation.ErrUntold) {
		unavailable(w)
		return
	}
	entry.Cause = errors.Join(err, e.forget(r, asked))
	e.Audit.Write(r.Context(), entry)
	web.JSON(w, http.StatusOK, map[string]string{"status": "ended"})
}

// forget takes out of the records what was ended. What is left there by a failure
// is ended all the same.
func (e *Endpoint) forget(r *http.Request, asked End) error {
	if asked.Subject == "" {
		return e.People.All(r.Context(), e.Now(), func(v people.Record) error {
			if strings.EqualFold(v.Email, asked.Email) {
				return e.People.Forget(r.Context(), v.Subject)
			}
			return nil
		})
	}
	if asked.ID != "" {
		return e.People.Forget(r.Context(), asked.Subject, asked.ID)
	}
	return e.People.Forget(r.Context(), asked.Subject)
}

func unavailable(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "5")
	web.JSON(w, http.StatusServiceUnavailable, web.ErrorBody{Error: "temporarily_unavailable", Description: "the memory of what people allowed does not answer"})
}
