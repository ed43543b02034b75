// Package authcode is the authorization code: its content, and how it is sealed.
// A code is worth nothing without the client, redirect URI and verifier it was
// bound to, lives for a minute, and carries everything the token endpoint needs.
package authcode

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

// Lifetime of a code (RFC 6749, section 4.1.2 allows ten minutes).
const Lifetime = time.Minute

// MaxSession bounds Session.Size, in a code and in a refresh token: refresh
// tokens of 2 KB and access tokens of 2.5 KB are usual, and some have both.
const MaxSession = 6 << 10

// maxSupplying bounds it in a code where an MCP server gets one of the tokens: then
// they are larger, and only one goes on from here.
const maxSupplying = 12 << 10

// maxCode is how long a code that carries its session may be. It travels in a
// Location header beside the client's state, and nginx gives all headers of a
// response 4 KB by default.
const maxCode = 2800

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
	// Agreed is what the person agreed to, see catalog.Agree; "" if nothing depends on it.
	Agreed string `json:"agreed,omitempty"`
	// Policy is which rules hold for the person and the client, see policy.Match.
	Policy string `json:"policy,omitempty"`
	// Key is the thumbprint of the key that the client must prove to redeem the code, ""
	// for none (RFC 9449, section 10).
	Key string `json:"jkt,omitempty"`
	// Offline: the client asked for offline_access.
	Offline bool `json:"offline,omitempty"`
	// Session is the identity provider's, for re-checks; see MaxSession.
	Session connector.Session `json:"-"`
	// Sealed is Session, where the code carries it; Held says that the keeper has it.
	// It is sealed before the rest is compressed, so that the length of a code says
	// nothing about it, whatever a client writes beside it.
	Sealed string `json:"session,omitempty"`
	Held   bool   `json:"held,omitempty"`
	// Life is how long the code lives; 0 is Lifetime.
	Life time.Duration `json:"-"`
	// Room is how long the code may be with a session in it; 0 is as long as ever.
	Room    int   `json:"-"`
	Expires int64 `json:"exp"`
}

// ExpiresAt returns when the code dies.
func (a *Authorization) ExpiresAt() time.Time { return time.Unix(a.Expires, 0) }

// dictionary shortens codes: it has the names of all members and what is usual in them.
const dictionary = `{"id":"","flow":"","client":"","redirect":"","challenge":"","resource":"https://mcp.example.com/mcp",` +
	`"scopes":["notes:read","notes:write","mcp"],"identity":{"prov":"","ns":"google","sub":"","email":"@example.com","name":"","groups":["engineering","everyone"]},` +
	`"auth_time":1,"catalogue":"","policy":"","offline":true,"session":"","exp":1`

// Keeper holds what a code has no room for, see guard.Guard.
type Keeper interface {
	Keep(ctx context.Context, id, value string, expires time.Time) error
	Kept(ctx context.Context, id string) (string, error)
}

// Codes seals and opens codes.
type Codes struct {
	box      seal.Box[Authorization]
	sessions seal.Box[connector.Session]
	keeper   Keeper
	shared   bool
	now      func() time.Time
}

// NewCodes returns the codes of this keyring. A shared keeper, which every replica
// reaches, holds all sessions; one of this process only those that are too large
// for a code, because the code may be redeemed at another replica.
func NewCodes(keys *seal.Keyring, keeper Keeper, shared bool, now func() time.Time) *Codes {
	return &Codes{
		box: seal.NewPackedBox[Authorization](keys, "authorization code", dictionary), sessions: seal.NewBox[connector.Session](keys, "session in a code"),
		keeper: keeper, shared: shared, now: now,
	}
}

// maxGroupBytes bounds the groups in a code: it travels in a URL and in a
// response header, which gateways commonly limit to 4 or 8 KB.
const maxGroupBytes = 1 << 10

// Issue seals a as a code of issuer. Groups that do not fit are left out, the
// last ones first, and the rest counts as unknown, which only ever takes rights away. A session that can neither
// be carried nor kept is left out too, and lost says why.
func (c *Codes) Issue(ctx context.Context, issuer string, a Authorization) (sealed string, lost, err error) {
	room := maxGroupBytes
	for i, g := range a.Identity.Groups {
		if room -= len(g) + 3; room < 0 { // quotes and a comma
			a.Identity.Groups, a.Identity.Unknown.Groups = a.Identity.Groups[:i], true
			break
		}
	}
	a.ID = rand.Text()
	expires := c.now().Add(cmp.Or(a.Life, Lifetime))
	a.Expires = expires.Unix()
	session, lost := c.sealSession(a)
	sealed, lostToo, err := c.place(ctx, issuer, a, session)
	return sealed, cmp.Or(lost, lostToo), err
}

// ErrSessionTooLarge: the provider's tokens were dropped.
var ErrSessionTooLarge = fmt.Errorf("the identity provider's tokens are larger than %d bytes together and were dropped", MaxSession)

// sealSession returns a's session sealed, "" if there is none.
func (c *Codes) sealSession(a Authorization) (string, error) {
	if a.Session.IsZero() {
		return "", nil
	}
	most := MaxSession
	if a.Session.Want != connector.WantNone {
		most = maxSupplying
	}
	if a.Session.Size() > most {
		return "", ErrSessionTooLarge
	}
	return c.sessions.Seal(a.Session, a.ExpiresAt(), a.ID)
}

// place seals a with session where that fits: at a shared keeper, else in the code
// itself, else at the keeper of this process.
func (c *Codes) place(ctx context.Context, issuer string, a Authorization, session string) (sealed string, lost, err error) {
	a.Sealed = session
	carried, err := c.box.Seal(a, a.ExpiresAt(), issuer)
	fits := len(carried) <= min(maxCode, cmp.Or(a.Room, maxCode))
	if err != nil || session == "" || fits && !c.shared {
		return carried, nil, err
	}
	lost = c.keeper.Keep(ctx, sessionID(a.ID), session, a.ExpiresAt())
	if lost != nil && fits {
		return carried, nil, nil
	}
	a.Sealed, a.Held = "", lost == nil
	if lost != nil {
		lost = fmt.Errorf("the identity provider's tokens were dropped: %w", lost)
	}
	sealed, err = c.box.Seal(a, a.ExpiresAt(), issuer)
	return sealed, lost, err
}

func sessionID(code string) string { return "session " + code }

// Open returns the content of a live code of issuer, except its Session. It does
// not spend it.
func (c *Codes) Open(issuer, code string) (Authorization, error) { return c.box.Open(code, issuer) }

// Late returns the content of a code of issuer although it has expired, except its
// Session, for the audit log.
func (c *Codes) Late(issuer, code string) (Authorization, error) { return c.box.Late(code, issuer) }

// Session returns the session of a, the zero one if there is none or it is lost:
// another replica may have it. Errors are the keeper's.
func (c *Codes) Session(ctx context.Context, a Authorization) (connector.Session, error) {
	sealed := a.Sealed
	if a.Held {
		var err error
		if sealed, err = c.keeper.Kept(ctx, sessionID(a.ID)); err != nil {
			return connector.Session{}, err
		}
	}
	// What was kept may be of another code, or as old as this one: that opens as none.
	session, _ := c.sessions.Open(sealed, a.ID)
	return session, nil
}
