// Package personal is the kind of credential that people make for themselves: a
// key for a script, with no more than they may do, and an end.
//
// A key holds all that is known of it, sealed, so nothing of it is stored. Its
// invariants: it is for one MCP server; it never does more than its scopes, nor more
// than the rules allow the person at the time of use; a denial, or ending it, takes
// effect everywhere; and it is suspended while the identity provider has not confirmed
// the person for some time.
package personal

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// Prefix begins every key, so that people and secret scanners know it for one.
const Prefix = "mfp_"

// ClientID is what rules, the audit log and the deny-list call all of these keys.
const ClientID = rule.KeyNamespace + ":personal"

// Client is such a key as the rules know it.
func Client() policy.Client { return policy.Client{Key: oauth.ClientKey(ClientID), Kind: rule.KindKey} }

// Key is what a key holds.
type Key struct {
	// ID names the key; the deny-list knows it as a family.
	ID string `json:"id"`
	// Identity is the person as they were when they made it.
	Identity connector.Identity `json:"who"`
	// InGroups: the person was in some groups then, or may have been.
	InGroups bool         `json:"in_groups,omitempty"`
	Resource string       `json:"resource"`
	Scopes   oauth.Scopes `json:"scopes"`
	// Agreed is what the scopes opened then, see catalog.Agree; "" if nothing depends on
	// it.
	Agreed  string `json:"agreed,omitempty"`
	Made    int64  `json:"made"` // in Unix seconds, as is Expires
	Expires int64  `json:"exp"`
}

// Keys makes and reads keys.
type Keys struct {
	box seal.Box[Key]
}

// New returns the keys of a keyring.
func New(keys *seal.Keyring) *Keys {
	return &Keys{seal.NewPackedBox[Key](keys, "personal key", dictionary)}
}

// dictionary shortens keys: it has what is in most of them.
const dictionary = `{"id":"","who":{"prov":"","ns":"google","sub":"","email":"@example.com","name":"","groups":["","` +
	`"]},"in_groups":true,"resource":"https://mcp.example.com/mcp","scopes":["mcp","notes:read","notes:write"],"made":17,"exp":17`

// maxKey bounds a key: gateways take headers of 8 KB.
const maxKey = 4 << 10

// ErrTooLarge: the person is in so many groups that no key can hold them.
var ErrTooLarge = errors.New("the key would be too long for a header")

// Make makes a key, and returns its ID and what its holder presents.
func (k *Keys) Make(v Key, host *resource.Host) (id, key string, err error) {
	v.ID = rand.Text()
	sealed, err := k.box.Seal(v, time.Unix(v.Expires, 0), host.Issuer)
	if err == nil && len(sealed) > maxKey {
		v.Identity.Groups, v.Identity.Unknown.Groups = nil, true // unknown is not none
		sealed, err = k.box.Seal(v, time.Unix(v.Expires, 0), host.Issuer)
	}
	if err == nil && len(sealed) > maxKey {
		err = ErrTooLarge
	}
	return v.ID, Prefix + sealed, err
}

// Kind verifies keys. It implements credential.Kind.
type Kind struct {
	Keys    *Keys
	Policy  *policy.Policy
	SignIns *SignIns
}

// Recognises reports whether raw begins as every key does, so that a key is
// refused as a key wherever it is sent.
func (Kind) Recognises(raw string, _ *resource.Resource) bool { return strings.HasPrefix(raw, Prefix) }

// Verify returns the principal of a key for r.
func (k Kind) Verify(raw string, r *resource.Resource) (credential.Principal, error) {
	v, err := k.open(raw, r)
	if err != nil {
		return credential.Principal{}, err
	}
	until, err := k.SignIns.known(&v)
	if err != nil {
		return credential.Principal{}, err
	}
	return k.principal(&v, until, r), nil
}

// Ask finds out when the identity provider last vouched for the person.
func (k Kind) Ask(ctx context.Context, raw string, r *resource.Resource) (credential.Principal, error) {
	v, err := k.open(raw, r)
	if err != nil {
		return credential.Principal{}, err
	}
	until, err := k.SignIns.ask(ctx, &v)
	if err != nil {
		return credential.Principal{}, err
	}
	return k.principal(&v, until, r), nil
}

// open reads a key that is for r.
func (k Kind) open(raw string, r *resource.Resource) (Key, error) {
	if !r.PersonalKeys {
		return Key{}, credential.Refused{Reason: reasons.APIKeyNotAccepted, Detail: r.URI + " accepts no keys that people make: personalKeys is off, or not on at its host"}
	}
	v, err := k.Keys.box.Open(strings.TrimPrefix(raw, Prefix), r.Host.Issuer)
	switch {
	case errors.Is(err, seal.ErrExpired):
		return Key{}, credential.Refused{Reason: reasons.APIKeyExpired}
	case err != nil:
		return Key{}, credential.Refused{Reason: reasons.APIKeyUnknown, Detail: "it has the form of a key that a person made at /account, and was made at another host or with another seed"}
	case v.Resource != r.URI:
		no := v.refused(reasons.APIKeyNotAccepted)
		no.Detail = "the person made it for " + v.Resource
		return Key{}, no
	}
	return v, nil
}

func (v *Key) refused(reason reasons.Reason) credential.Refused {
	return credential.Refused{Reason: reason, Subject: v.Identity.FullSubject(), Client: ClientID, ID: v.ID}
}

// principal is who comes with the key; until is when the key is to be looked at again.
func (k Kind) principal(v *Key, until time.Time, r *resource.Resource) credential.Principal {
	id := v.Identity
	return credential.Principal{
		Issuer: r.Host.Issuer, Audience: r.URI, Subject: id.FullSubject(), Client: ClientID, Scope: v.Scopes.String(),
		Email: id.Email, EmailUnknown: id.Unknown.Email, Name: id.Name, Groups: id.Groups, GroupsCut: id.Unknown.Groups,
		Agreed: v.Agreed,
		Policy: k.Policy.For(r.URI).Rematch(id, v.InGroups, Client()).String(),
		Key:    &credential.Key{}, ID: v.ID, Family: v.ID, IssuedAt: v.Made, SignedIn: v.Made, Expires: v.Expires,
		Until: min(until.Unix(), v.Expires),
	}
}
