// Package actor says who acts for the subject of a token (RFC 8693, section 4.1):
// the one at the front acts now, each behind it acted before. It is pure.
package actor

import (
	"encoding/json"
	"errors"
	"strings"
)

// MaxDepth bounds a chain: more than so many hops are a mistake, or an attack.
const MaxDepth = 8

// maxBytes bounds each name.
const maxBytes = 512

// Actor is one who acts. The zero value is not valid.
type Actor struct {
	// Issuer says whose identifier Subject is; "" for that of the token.
	Issuer   string `json:"iss,omitempty"`
	Subject  string `json:"sub"`
	ClientID string `json:"client_id,omitempty"`
	// Act is who acted before, on whose behalf this one acts; nil for none.
	Act *Actor `json:"act,omitempty"`
}

// ErrActor: the claim act is not one that can be said on.
var ErrActor = errors.New("act is not a chain of at most 8 actors, each with a sub")

// Parse reads the claim act of a token of issuer. Other members of an actor than
// those of Actor say nothing of who it is (RFC 8693, section 4.1) and are left out.
func Parse(raw json.RawMessage, issuer string) (*Actor, error) {
	if len(raw) > MaxDepth*4*maxBytes {
		return nil, ErrActor
	}
	a := new(Actor)
	if err := json.Unmarshal(raw, a); err != nil {
		return nil, ErrActor
	}
	depth := 0
	for at := a; at != nil; at = at.Act {
		if depth++; depth > MaxDepth || !plain(at.Subject) || at.Issuer != "" && !plain(at.Issuer) || at.ClientID != "" && !plain(at.ClientID) {
			return nil, ErrActor
		}
		if at.Issuer == "" {
			at.Issuer = issuer
		}
	}
	return a, nil
}

// plain: names go into headers and logs.
func plain(s string) bool {
	return s != "" && len(s) <= maxBytes && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// Name is what rules, headers and the audit log call a: its issuer without the
// scheme, a colon, and its subject. That is how the subjects of people and workloads
// of an issuer begin, too.
func (a *Actor) Name() string {
	if a == nil {
		return ""
	}
	if _, bare, ok := strings.Cut(a.Issuer, "://"); ok {
		return bare + ":" + a.Subject
	}
	if a.Issuer == "" {
		return a.Subject
	}
	return a.Issuer + ":" + a.Subject
}

// Names are those of the whole chain, the one who acts now first.
func (a *Actor) Names() []string {
	var names []string
	for ; a != nil; a = a.Act {
		names = append(names, a.Name())
	}
	return names
}

// String is the chain for people and logs: "now < before < first".
func (a *Actor) String() string { return strings.Join(a.Names(), " < ") }
