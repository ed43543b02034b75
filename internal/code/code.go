// Package code is the authorization code: what it stands for, and its sealing.
// A code is worth nothing without the client, redirect URI and verifier it was
// bound to, lives for a minute, and carries everything the token endpoint needs.
package code

import (
	"crypto/rand"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// Lifetime of a code (RFC 6749, section 4.1.2 allows ten minutes).
const Lifetime = time.Minute

// MaxSession bounds Session.Size. A code travels in a Location header, and nginx
// gives all headers of a response 4 KB by default: with this much session a
// usual code stays below 3 KB. The refresh tokens of the large providers fit.
const MaxSession = 1536

// Authorization is what the user agreed to and who they are.
type Authorization struct {
	// ID is spent when the code is redeemed.
	ID   string `json:"id"`
	Flow string `json:"flow"`
	// ClientKey identifies the client, see registration.Client.Key.
	ClientKey string `json:"client"`
	// Redirect is oauth.RedirectKey of the redirect URI.
	Redirect  string             `json:"redirect"`
	Challenge string             `json:"challenge"` // S256, never empty
	Resource  string             `json:"resource"`
	Scopes    oauth.Scopes       `json:"scopes"`
	Identity  connector.Identity `json:"identity"`
	AuthTime  int64              `json:"auth_time"`
	// Catalogue fingerprints what each of Scopes opened on the consent page.
	Catalogue string `json:"catalogue,omitempty"`
	// Policy is which rules hold for the person and the client, see policy.Match.
	Policy string `json:"policy,omitempty"`
	// Offline: the client asked for offline_access.
	Offline bool `json:"offline,omitempty"`
	// Session is the identity provider's, for re-checks; see MaxSession.
	Session connector.Session `json:"-"`
	// Sealed is Session. It is sealed before the rest is compressed, so that the
	// length of a code says nothing about it, whatever a client writes beside it.
	Sealed  string `json:"session,omitempty"`
	Expires int64  `json:"exp"`
}

// ExpiresAt returns when the code dies.
func (a *Authorization) ExpiresAt() time.Time { return time.Unix(a.Expires, 0) }

// Codes seals and opens codes.
type Codes struct {
	box      seal.Box[Authorization]
	sessions seal.Box[connector.Session]
	now      func() time.Time
}

// dictionary shortens codes: it has the names of all members and what is usual in them.
const dictionary = `{"id":"","flow":"","client":"","redirect":"","challenge":"","resource":"https://mcp.example.com/mcp",` +
	`"scopes":["notes:read","notes:write","mcp"],"identity":{"prov":"","ns":"google","sub":"","email":"@example.com","name":"","groups":["engineering","everyone"]},` +
	`"auth_time":1,"catalogue":"","policy":"","offline":true,"session":"","exp":1`

// NewCodes returns the codes of this keyring.
func NewCodes(keys *seal.Keyring, now func() time.Time) *Codes {
	return &Codes{box: seal.NewPackedBox[Authorization](keys, "authorization code", dictionary), sessions: seal.NewBox[connector.Session](keys, "session in a code"), now: now}
}

// maxGroupBytes bounds the groups in a code: it travels in a URL and in a
// response header, which gateways commonly limit to 4 or 8 KB.
const maxGroupBytes = 1 << 10

// Issue seals a as a code of issuer. Groups that do not fit are left out, the
// last ones first, which only ever takes rights away.
func (c *Codes) Issue(issuer string, a Authorization) (string, error) {
	room := maxGroupBytes
	for i, g := range a.Identity.Groups {
		if room -= len(g) + 3; room < 0 { // quotes and a comma
			a.Identity.Groups = a.Identity.Groups[:i]
			break
		}
	}
	a.ID = rand.Text()
	expires := c.now().Add(Lifetime)
	a.Expires = expires.Unix()
	if a.Session != (connector.Session{}) {
		var err error
		if a.Sealed, err = c.sessions.Seal(a.Session, expires, a.ID); err != nil {
			return "", err
		}
	}
	return c.box.Seal(a, expires, issuer)
}

// Open returns what a live code of issuer stands for. It does not spend it.
func (c *Codes) Open(issuer, code string) (Authorization, error) {
	a, err := c.box.Open(code, issuer)
	if err == nil && a.Sealed != "" {
		a.Session, err = c.sessions.Open(a.Sealed, a.ID)
		a.Sealed = ""
	}
	if err != nil {
		return Authorization{}, err
	}
	return a, nil
}
