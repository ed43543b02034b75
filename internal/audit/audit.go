// Package audit writes down who did what, allowed or not: one typed entry per
// event, with one flow id from the authorization request to the first
// authenticated request. Entries hold no token, code, secret or sealed value.
package audit

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"log/slog"
	"strings"
)

// Event names what happened. The set is closed; it is also a metric label.
type Event string

// Events.
const (
	KeyGenerated         Event = "key.generated"
	ClientRegistered     Event = "client.registered"
	RegistrationRefused  Event = "client.registration_refused"
	AuthorizeRefused     Event = "authorize.refused"
	ConsentShown         Event = "consent.shown"
	ConsentGiven         Event = "consent.given"
	ConsentDeclined      Event = "consent.declined"
	LoginStarted         Event = "login.started"
	LoginRefused         Event = "login.refused"
	LoginCompleted       Event = "login.completed"
	TokenIssued          Event = "token.issued"
	TokenRefreshed       Event = "token.refreshed"
	TokenRefused         Event = "token.refused"
	TokenRevoked         Event = "token.revoked"
	RevocationRefused    Event = "token.revocation_refused"
	FamilyEnded          Event = "family.ended"
	IntrospectionRefused Event = "introspection.refused"
	DenyListLoaded       Event = "deny_list.loaded"
	DenyListBroken       Event = "deny_list.broken"
	FirstUse             Event = "access.first_use"
	AccessDenied         Event = "access.denied"
	// AccessAdvised: an advisory tool policy would have denied it.
	AccessAdvised Event = "access.advised"
)

// Events lists every event, for metrics and documentation.
var Events = []Event{
	KeyGenerated, ClientRegistered, RegistrationRefused, AuthorizeRefused,
	ConsentShown, ConsentGiven, ConsentDeclined, LoginStarted, LoginRefused,
	LoginCompleted, TokenIssued, TokenRefreshed, TokenRefused, TokenRevoked,
	RevocationRefused, FamilyEnded, IntrospectionRefused, DenyListLoaded, DenyListBroken, FirstUse, AccessDenied,
	AccessAdvised,
}

// Entry is one line of the audit log. Empty fields are left out.
type Entry struct {
	Event    Event
	Reason   string // slug, from a closed set of the package that writes it
	Flow     string
	Subject  string
	Email    string
	Client   string // client id, shortened for self-describing ids
	Name     string // client name, as it calls itself
	Redirect string // host of the redirect URI
	Host     string
	Resource string
	Scope    string
	Method   string // MCP method, where the gateway says it
	Tool     string // MCP tool, where the gateway says it
	TokenID  string
	Family   string // sign-in of a client that its tokens come from; the operator may deny it
	KeyID    string
	Cause    error // detail for operators; never a secret
}

// Log receives entries.
type Log struct {
	Logger *slog.Logger
	// Count, if set, is told of each entry, for metrics.
	Count func(Event, string)
}

// Write records e. Denials of unauthenticated requests are many and carry
// little; they go to debug level, everything else to info.
func (l *Log) Write(ctx context.Context, e Entry) {
	if l == nil {
		return
	}
	if l.Count != nil {
		l.Count(e.Event, e.Reason)
	}
	level := slog.LevelInfo
	if e.Event == DenyListBroken {
		level = slog.LevelError // somebody may be let in whom the operator wants out
	}
	if e.Event == AccessDenied && e.Reason == "no_token" {
		level = slog.LevelDebug
	}
	if l.Logger == nil || !l.Logger.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 16)
	add := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, clip(value)))
		}
	}
	add("event", string(e.Event))
	add("reason", e.Reason)
	add("flow", e.Flow)
	add("subject", e.Subject)
	add("email", e.Email)
	add("client", e.Client)
	add("client_name", e.Name)
	add("redirect", e.Redirect)
	add("host", e.Host)
	add("resource", e.Resource)
	add("scope", e.Scope)
	add("mcp_method", e.Method)
	add("mcp_tool", e.Tool)
	add("token_id", e.TokenID)
	add("family", e.Family)
	add("key_id", e.KeyID)
	if e.Cause != nil {
		add("cause", e.Cause.Error())
	}
	l.Logger.LogAttrs(ctx, level, "audit", slog.GroupAttrs("audit", attrs...))
}

const maxField = 512

func clip(s string) string {
	if len(s) > maxField {
		return strings.ToValidUTF8(s[:maxField], "") + "…"
	}
	return s
}

// NewFlow returns a fresh flow id: short, easy to read out, not a secret.
func NewFlow() string {
	var b [10]byte
	rand.Read(b[:])
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}
