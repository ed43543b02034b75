package revocation

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Person names whose grants are ended, in one of several ways. Make one with
// BySubject and its kin.
type Person struct{ kind, value string }

// Ways to name a person.
const (
	bySubject  = "subject"
	byEmail    = "email"
	byBrowsers = "browsers"
	byUnnamed  = "unnamed"
)

// BySubject names a person by the full subject, see connector.Identity.
func BySubject(subject string) Person { return Person{bySubject, subject} }

// ByEmail names everybody with a verified e-mail address, whatever its case.
func ByEmail(email string) Person { return Person{byEmail, strings.ToLower(email)} }

// BrowsersOf names the browser sessions of a person alone.
func BrowsersOf(subject string) Person { return Person{byBrowsers, subject} }

// UnnamedBrowsersOf names those browser sessions of a person alone of which it is not
// known with which session at the provider they began.
func UnnamedBrowsersOf(subject string) Person { return Person{byUnnamed, subject} }

// IssueSlack, in seconds, is to be taken off the time of tokens that do not say when
// the person signed in: a replica that has not heard yet that everything of a
// person was ended may still have made one by then.
const IssueSlack = 5

// Subject is the full subject of one who is named by it, else "".
func (p Person) Subject() string {
	if p.kind == byEmail {
		return ""
	}
	return p.value
}

// Email is the address of one who is named by it, else "".
func (p Person) Email() string {
	if p.kind != byEmail {
		return ""
	}
	return p.value
}

var errNobody = errors.New("an empty name stands for no person")

// personPrefix begins the entries about people: "person TIME KIND VALUE".
const personPrefix = "person "

// EndPerson ends all tokens of a person's sign-ins up to at, until expires, when the
// last of it would be dead by itself. A sign-in after at is not affected. Errors are as
// those of RevokeFamily.
func (l *List) EndPerson(p Person, at, expires time.Time) error {
	if p.value == "" {
		return errNobody
	}
	return l.revoke(personPrefix+strconv.FormatInt(at.Unix(), 10)+" "+p.kind+" "+p.value, expires)
}

// parsePerson reads an entry about a person; ok is false for others.
func parsePerson(key string) (p Person, at int64, ok bool) {
	rest, ok := strings.CutPrefix(key, personPrefix)
	if !ok {
		return Person{}, 0, false
	}
	digits, rest, _ := strings.Cut(rest, " ")
	kind, value, _ := strings.Cut(rest, " ")
	at, err := strconv.ParseInt(digits, 10, 64)
	return Person{kind, value}, at, err == nil && value != ""
}

// note keeps that everything up to at is ended, and no less than before.
func (l *List) note(p Person, at int64, expires time.Time) error {
	if before, ok := l.people.Get(p.kind + " " + p.value); ok {
		at = max(at, before)
		if until, _ := l.people.Expires(p.kind + " " + p.value); until.After(expires) {
			expires = until
		}
	}
	return l.people.Set(p.kind+" "+p.value, at, expires)
}

// personEnded reports whether f belongs to a sign-in of a person that was ended. Where
// it is not known when that was, it was before.
func (l *List) personEnded(f Facts) bool {
	if l.people.Len() == 0 {
		return false
	}
	ended := func(kind, value string) bool {
		at, ok := l.people.Get(kind + " " + value)
		return ok && value != "" && f.Since <= at
	}
	return ended(bySubject, f.Subject) || ended(byEmail, strings.ToLower(f.Email)) ||
		f.Browser && (ended(byBrowsers, f.Subject) || f.AtProvider == "" && ended(byUnnamed, f.Subject))
}
