// Package device is the device authorization (RFC 8628): what a terminal without a
// browser asked for, the code that it shows, and how the person answered. The device
// code is a sealed value. What the person's answer changes is a sealed record in the
// guard, under a hash of the code that the device shows, so that several replicas need
// a guard that they share. A record grants nothing: what a person agreed to is an
// authorization code that package authorize made, and package grant redeems.
package device

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
)

const (
	// Lifetime is how long a person may take (RFC 8628, section 3.2).
	Lifetime = 10 * time.Minute
	// Interval is how long a device waits between two questions, and slower what is
	// added to it for each that comes too early (section 3.5).
	Interval    = 5 * time.Second
	slower      = 5 * time.Second
	maxInterval = time.Minute
	// early is how much before its time a question may come: clocks and networks are
	// not exact, and a timer that fires on time must not be told to slow down.
	early = time.Second
	// maxOpened is how often a code may be typed before it is worth nothing more.
	maxOpened = 5
	// letters are what codes are made of: no vowels, so that they spell no words
	// (section 6.1). Eight of them have 34 bits.
	letters     = "BCDFGHJKLMNPQRSTVWXZ"
	codeLetters = 8
)

// Outcomes of a code. Others that Find, Approve, Deny and Poll return are the guard's.
var (
	// ErrUnknown: there is no such code, or it has expired, was answered or typed too often.
	ErrUnknown = errors.New("no device waits with this code")
	// ErrInvalid: the device code is not one of this service for this host and client.
	ErrInvalid = errors.New("the device code is not valid")
	ErrPending = errors.New("the person has not answered yet")
	ErrTooSoon = errors.New("the device asks too often")
	ErrExpired = errors.New("the device code has expired")
	ErrDenied  = errors.New("the person said no")
)

// Request is what a device asked for.
type Request struct {
	Flow     string `json:"flow"`
	ClientID string `json:"client"`
	Resource string `json:"resource"`
	Scope    string `json:"scope,omitempty"` // as asked for
}

// Issued is what a device gets (section 3.2).
type Issued struct {
	DeviceCode, UserCode string
	Expires              time.Time
}

// Pending is a request that waits for a person.
type Pending struct {
	Request
	// ID names the record to Approve and Deny, and UserCode is what the device shows.
	ID, UserCode string
}

// record is what the guard keeps of a request.
type record struct {
	Request
	Answer  string `json:"answer,omitempty"` // "" for none yet
	Code    string `json:"code,omitempty"`   // the authorization code, where the answer is yes
	Opened  int    `json:"opened,omitempty"`
	Expires int64  `json:"exp"` // Unix seconds
	// Asked is when the device asked last, in Unix milliseconds, and Wait how long it
	// has to wait since then, in seconds.
	Asked int64 `json:"asked,omitempty"`
	Wait  int   `json:"wait"`
	// Nonce makes two records that are alike in everything different values.
	Nonce string `json:"n"`
}

const (
	yes = "yes"
	no  = "no"
)

// sealedCode is the content of a device code.
type sealedCode struct {
	ID     string `json:"id"`
	Client string `json:"client"` // its key
}

// Keeper changes what the guard holds, see guard.Guard.
type Keeper interface {
	Change(ctx context.Context, id string, edit guard.Edit) error
}

// Codes makes and follows device authorizations. It is safe for concurrent use.
type Codes struct {
	keeper  Keeper
	records seal.Box[record]
	codes   seal.Box[sealedCode]
	now     func() time.Time
}

// New returns the device authorizations of this keyring.
func New(keys *seal.Keyring, keeper Keeper, now func() time.Time) *Codes {
	return &Codes{
		keeper: keeper, now: now,
		records: seal.NewBox[record](keys, "device authorization"), codes: seal.NewBox[sealedCode](keys, "device code"),
	}
}

// errTaken: another device shows the code.
var errTaken = errors.New("the user code is taken")

// Begin begins the authorization of a device at issuer.
func (c *Codes) Begin(ctx context.Context, issuer, clientKey string, r Request) (Issued, error) {
	expires := c.now().Add(Lifetime)
	for range 4 {
		user := newUserCode()
		id := recordID(issuer, user)
		err := c.keeper.Change(ctx, id, func(old string, _ time.Time) (string, time.Duration, error) {
			if old != "" {
				return "", 0, errTaken
			}
			return c.seal(id, record{Request: r, Expires: expires.Unix(), Wait: int(Interval / time.Second)})
		})
		if errors.Is(err, errTaken) {
			continue
		}
		if err != nil {
			return Issued{}, err
		}
		code, err := c.codes.Seal(sealedCode{ID: id, Client: clientKey}, expires.Add(Lifetime), issuer) // so that it can be told to have expired
		return Issued{DeviceCode: code, UserCode: user[:4] + "-" + user[4:], Expires: expires}, err
	}
	return Issued{}, errTaken
}

// Find returns the request of the device that shows the code which a person typed, in
// whatever case and with whatever between the letters. It counts: a code can be typed a
// few times only.
func (c *Codes) Find(ctx context.Context, issuer, typed string) (Pending, error) {
	user := normal(typed)
	if len(user) != codeLetters {
		return Pending{}, ErrUnknown
	}
	p := Pending{ID: recordID(issuer, user), UserCode: user[:4] + "-" + user[4:]}
	err := c.change(ctx, p.ID, func(r *record) error {
		if r == nil || r.Answer != "" || r.Opened >= maxOpened {
			return ErrUnknown
		}
		r.Opened++
		p.Request = r.Request
		return nil
	})
	return p, err
}

// Approve says that the person agreed: code is the authorization code to redeem.
func (c *Codes) Approve(ctx context.Context, id, code string) error {
	return c.answer(ctx, id, yes, code)
}

// Deny says that the person, or a rule, said no.
func (c *Codes) Deny(ctx context.Context, id string) error { return c.answer(ctx, id, no, "") }

func (c *Codes) answer(ctx context.Context, id, answer, code string) error {
	return c.change(ctx, id, func(r *record) error {
		if r == nil || r.Answer != "" {
			return ErrUnknown
		}
		r.Answer, r.Code = answer, code
		return nil
	})
}

// Poll returns the authorization code for a device that asks, once the person has
// agreed; until then it says why there is none (section 3.5).
func (c *Codes) Poll(ctx context.Context, issuer, clientKey, deviceCode string) (code string, err error) {
	sealed, err := c.codes.Open(deviceCode, issuer)
	switch {
	case errors.Is(err, seal.ErrExpired):
		return "", ErrExpired
	case err != nil:
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	case sealed.Client != clientKey:
		return "", fmt.Errorf("%w: it was issued to another client", ErrInvalid)
	}
	verdict := ErrExpired // of a record that is gone
	err = c.change(ctx, sealed.ID, func(r *record) error {
		if r == nil {
			return ErrExpired
		}
		code, verdict = r.poll(c.now())
		return nil
	})
	if err != nil {
		return "", err
	}
	return code, verdict
}

// poll is one question of the device.
func (r *record) poll(now time.Time) (code string, verdict error) {
	switch r.Answer {
	case yes:
		return r.Code, nil
	case no:
		return "", ErrDenied
	}
	asked, wait := time.UnixMilli(r.Asked), time.Duration(r.Wait)*time.Second
	r.Asked = now.UnixMilli()
	if now.Sub(asked) < wait-early {
		r.Wait = int(min(wait+slower, maxInterval) / time.Second)
		return "", ErrTooSoon
	}
	return "", ErrPending
}

// change edits a record in one step; edit gets nil where there is none, or none that
// lives. What an error leaves is what was there.
func (c *Codes) change(ctx context.Context, id string, edit func(*record) error) error {
	return c.keeper.Change(ctx, id, func(old string, _ time.Time) (string, time.Duration, error) {
		r, err := c.records.Open(old, id)
		if err != nil || r.Expires <= c.now().Unix() {
			return old, 0, edit(nil)
		}
		if err := edit(&r); err != nil {
			return "", 0, err
		}
		return c.seal(id, r)
	})
}

func (c *Codes) seal(id string, r record) (string, time.Duration, error) {
	r.Nonce = rand.Text()[:8]
	expires := time.Unix(r.Expires, 0)
	value, err := c.records.Seal(r, expires, id)
	return value, expires.Sub(c.now()), err
}

// recordID is what the guard knows a request by: the codes cannot be read from it
// without trying them all, and the records are sealed besides.
func recordID(issuer, user string) string {
	sum := sha256.Sum256([]byte("device\n" + issuer + "\n" + user))
	return "device " + base64.RawURLEncoding.EncodeToString(sum[:16])
}

func newUserCode() string {
	code, b := make([]byte, 0, codeLetters), make([]byte, 1)
	for len(code) < codeLetters {
		rand.Read(b)
		if n := int(b[0]); n < 256-256%len(letters) { // each letter as likely as the others
			code = append(code, letters[n%len(letters)])
		}
	}
	return string(code)
}

// normal returns the letters of a code as a person typed it: section 6.1 has the server
// ignore case and what the alphabet does not have. "" is no code.
func normal(typed string) string {
	if len(typed) > 64 {
		return ""
	}
	return strings.Map(func(c rune) rune {
		switch {
		case strings.ContainsRune(letters, c):
			return c
		case 'a' <= c && c <= 'z' && strings.ContainsRune(letters, c-'a'+'A'):
			return c - 'a' + 'A'
		case c == '-' || c == ' ' || c == '.' || c == '_' || c == '–':
			return -1
		}
		return '?' // another letter, which makes the code too long or unknown
	}, typed)
}

// GrantType is the value of grant_type (section 3.4).
const GrantType = "urn:ietf:params:oauth:grant-type:device_code"

// Error returns what a device is told of err, an error of Poll or Begin; nil where err
// is not about the device.
func Error(err error) *oauth.Error {
	for _, e := range []struct {
		is          error
		code        oauth.ErrorCode
		description string
		reason      reasons.Reason
	}{
		{ErrPending, oauth.AuthorizationPending, "the person has not answered yet", ""},
		{ErrTooSoon, oauth.SlowDown, "wait five seconds longer between two requests", ""},
		{ErrExpired, oauth.ExpiredToken, "the device code has expired; begin again", reasons.DeviceCodeExpired},
		{ErrDenied, oauth.AccessDenied, "the person or a rule of this service said no", ""},
		{ErrInvalid, oauth.InvalidGrant, "the device code is not valid", reasons.InvalidDeviceCode},
	} {
		if errors.Is(err, e.is) {
			return &oauth.Error{Code: e.code, Description: e.description, Reason: e.reason}
		}
	}
	return nil
}
