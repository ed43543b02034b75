// Package connector defines what the service asks of an identity provider.
// Implementations live in sub-packages, one per kind of provider; each passes
// the suite in connectortest. A connector knows nothing of MCP clients, their
// scopes or their tokens: it turns one browser visit into an Identity.
package connector

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// MaxGroups is how many groups an Identity carries at most. A person with that
// many may be in more.
const MaxGroups = 200

// Identity is a person as the identity provider vouches for them.
type Identity struct {
	// Provider is the id of the identity provider in the configuration, "" where
	// there is one without. Connectors leave it out; package provider fills it in.
	Provider string `json:"prov,omitempty"`
	// Namespace says who issued Subject, readable and stable: "google",
	// "github", "static", or the issuer without its scheme; where there are
	// several providers with the id and a colon before it. Never empty.
	Namespace string `json:"ns"`
	// Subject is the provider's stable identifier; never an e-mail address or
	// a login name that can pass to another person. Never empty.
	Subject string `json:"sub"`
	// Email is empty unless the provider says it is verified.
	Email  string   `json:"email,omitempty"`
	Name   string   `json:"name,omitempty"`
	Groups []string `json:"groups,omitempty"`
	// Unknown lists those of these that the provider did not send in a readable form.
	// Unknown is not empty: in doubt a rule that denies applies, and a rule that allows
	// does not.
	Unknown Unknown `json:"unknown,omitzero"`
}

// FullSubject is the person's subject everywhere in the service: the sub of tokens, the
// user of rules, and the audit log.
func (i Identity) FullSubject() string { return i.Namespace + ":" + i.Subject }

// Unknown are properties that a provider's answer holds and that cannot be read
// in full: a claim of another shape, or one that the provider left elsewhere.
type Unknown struct {
	Email  bool `json:"email,omitempty"`
	Groups bool `json:"groups,omitempty"`
}

// Login is one visit of a browser to the identity provider. The caller seals
// it into the browser's cookie and hands the same value back at the callback.
type Login struct {
	// State is the handle that the provider returns unchanged.
	State string
	// Nonce binds an ID token to this visit (OpenID Connect Core, section 3.1.2.1).
	Nonce string
	// Verifier is the PKCE code verifier towards the provider (RFC 7636, section 4.1).
	Verifier string
	// RedirectURI is our callback.
	RedirectURI string
	// Prompt is "", "login" or "select_account", forwarded where the provider knows it.
	Prompt string
	// Scopes and Params are asked for at this visit besides those of the configuration
	// of the provider. Params cannot replace ProtocolParams.
	Scopes []string          `json:",omitempty"`
	Params map[string]string `json:",omitempty"`
	// Want says which token the Session is to bring besides what Rechecker needs.
	Want Wanted `json:",omitempty"`
}

// Exchanger is an optional ability of a connector: it exchanges a person's access token
// for one with another audience. Errors are those of Identify; a provider that refuses
// for good gives ErrMisconfigured.
type Exchanger interface {
	Exchange(ctx context.Context, accessToken string, x Exchange) (token string, life time.Duration, err error)
}

// Exchange says which token is asked for.
type Exchange struct {
	// OnBehalfOf asks in Microsoft's way, with the grant of RFC 7523; else it is
	// token exchange (RFC 8693).
	OnBehalfOf bool
	Audience   string // "" for none; not for OnBehalfOf
	Scopes     []string
}

// Connector signs people in by sending their browser to an identity provider.
type Connector interface {
	// AuthorizationURL returns where to send the browser. It may need the
	// network (discovery) and then fails with ErrUnavailable or ErrMisconfigured.
	AuthorizationURL(ctx context.Context, login Login) (string, error)

	// Identify turns the callback's query into an Identity, and a Session for
	// Rechecker if the connector is one. The caller has already checked that
	// query's state equals login.State. Errors wrap ErrCancelled, ErrRejected,
	// ErrNotAllowed, ErrMisconfigured or ErrUnavailable; any other error is a
	// fault of this service or of the provider.
	Identify(ctx context.Context, login Login, query url.Values) (Identity, Session, error)
}

// Adopter is an optional ability of a connector: it takes over what another connector
// with the same settings has learnt about the provider, which is then not asked again.
type Adopter interface {
	// Adopt must be called before the connector is used.
	Adopt(from Connector)
}

// Leaver is an optional ability of a connector: it knows where a browser ends the
// person's session at the provider (OpenID Connect RP-Initiated Logout).
type Leaver interface {
	// LogoutURL returns "" where there is no such place. It may need the network.
	LogoutURL(ctx context.Context) (string, error)
}

// KeyReader is an optional ability of a connector: it reads the keys that it verifies
// with.
type KeyReader interface {
	// ReadKeys returns how many keys are usable. Errors are as those of Identify.
	ReadKeys(ctx context.Context) (int, error)
}

// Logout is what a provider said about the end of a person's session there.
type Logout struct {
	ID string // jti
	// Identity has the Namespace, and the Subject where the provider named the person.
	Identity Identity
	// Session is the sid of the session that ended, "" for all of the person's. At least
	// one of Session and Subject is set.
	Session  string
	IssuedAt time.Time
}

// LogoutReader is an optional ability of a connector: it verifies what the provider
// sends when it ends a session (OpenID Connect Back-Channel Logout).
type LogoutReader interface {
	// ReadLogout verifies a logout token. Errors are as those of Identify.
	ReadLogout(ctx context.Context, token string) (Logout, error)
}

// PasswordConnector signs people in on our own login page.
type PasswordConnector interface {
	// Authenticate returns ErrRejected for an unknown user or a wrong
	// password, alike in text and in time, and ErrBusy at once if too many wait.
	Authenticate(ctx context.Context, username, password string) (Identity, error)
}

var (
	// ErrCancelled: the person or the provider declined (access_denied).
	ErrCancelled = errors.New("sign-in was cancelled at the identity provider")
	// ErrMisconfigured: the provider cannot be used until its operator or this
	// service's changes something: its certificate is not trusted, its name does
	// not exist, it refuses the client secret. It is also an ErrRejected. The
	// text says what to do.
	ErrMisconfigured error = misconfigured{}
	// ErrRejected: what the provider returned does not verify (wrong nonce, bad
	// signature), or is an error that blames neither the person nor the moment.
	ErrRejected = errors.New("the identity provider's answer was rejected")
	// ErrNotAllowed: the provider confirms the person, but the configuration admits only
	// other accounts (a tenant, a hosted domain, an organization).
	ErrNotAllowed = errors.New("the account is not one of those that are admitted")
	// ErrUnavailable: the provider could not be reached, timed out, or said
	// that it cannot serve right now.
	ErrUnavailable = errors.New("the identity provider is unavailable")
	// ErrBusy is an ErrUnavailable of a PasswordConnector: too many passwords are
	// being checked already.
	ErrBusy = fmt.Errorf("%w: too many sign-ins at once", ErrUnavailable)
)

type misconfigured struct{}

func (misconfigured) Error() string {
	return "the identity provider cannot be used as it is configured"
}

// Is makes every ErrMisconfigured an ErrRejected as well.
func (misconfigured) Is(target error) bool { return target == ErrRejected }

type returning struct{}

// Returning marks ctx as of a browser in which the same person has signed in
// before. A PasswordConnector keeps places for such browsers, which strangers
// cannot take.
func Returning(ctx context.Context) context.Context {
	return context.WithValue(ctx, returning{}, true)
}

// IsReturning reports whether Returning marked ctx.
func IsReturning(ctx context.Context) bool { return ctx.Value(returning{}) != nil }

type patient struct{}

// Patient marks ctx as that of a call that no person or client waits for: it may take
// as long as ctx lasts. The result of a provider that answers late is then not lost.
func Patient(ctx context.Context) context.Context { return context.WithValue(ctx, patient{}, true) }

// IsPatient reports whether Patient marked ctx.
func IsPatient(ctx context.Context) bool { return ctx.Value(patient{}) != nil }
