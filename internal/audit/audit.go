// Package audit writes down who did what, allowed or not: one typed entry per
// event, with one flow id from the authorization request to the first
// authenticated request. Entries hold no token, code, secret or sealed value.
package audit

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"log/slog"
	"strconv"
	"strings"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

// Event names what happened. The set is closed; it is also a metric label.
type Event string

// Events.
const (
	KeyGenerated        Event = "key.generated"
	ClientRegistered    Event = "client.registered"
	RegistrationRefused Event = "client.registration_refused"
	AuthorizeRequested  Event = "authorize.requested"
	AuthorizeRefused    Event = "authorize.refused"
	// DeviceRequested begins the sign-in of a device without a browser; DevicePolled is
	// a question of the device that came before the person's answer.
	DeviceRequested   Event = "device.requested"
	DeviceRefused     Event = "device.refused"
	DevicePolled      Event = "device.polled"
	DeviceApproved    Event = "device.approved"
	ConsentShown      Event = "consent.shown"
	ConsentGiven      Event = "consent.given"
	ConsentDeclined   Event = "consent.declined"
	LoginStarted      Event = "login.started"
	LoginReturned     Event = "login.returned"
	LoginRefused      Event = "login.refused"
	LoginCompleted    Event = "login.completed"
	TokenIssued       Event = "token.issued"
	TokenRefreshed    Event = "token.refreshed"
	TokenRefused      Event = "token.refused"
	TokenRevoked      Event = "token.revoked"
	RevocationRefused Event = "token.revocation_refused"
	FamilyEnded       Event = "family.ended"
	// TokenExchanged: an MCP server got a token to act with for its caller.
	TokenExchanged Event = "token.exchanged"
	// ProviderTokenDead: an MCP server reported that the provider's token no longer works.
	ProviderTokenDead Event = "provider_token.dead"
	// PolicyNarrowed: the rules gave less than was agreed to, and the entry after it is about the rest.
	PolicyNarrowed       Event = "policy.narrowed"
	IntrospectionRefused Event = "introspection.refused"
	DenyListLoaded       Event = "deny_list.loaded"
	DenyListBroken       Event = "deny_list.broken"
	UsersLoaded          Event = "users.loaded"
	UsersBroken          Event = "users.broken"
	APIKeysLoaded        Event = "api_keys.loaded"
	APIKeysBroken        Event = "api_keys.broken"
	ConfigLoaded         Event = "config.loaded" // again; the one before is not in force any more
	ConfigBroken         Event = "config.broken"
	FirstUse             Event = "access.first_use"
	AccessDenied         Event = "access.denied"
	// SessionBegun, SessionRenewed and SessionEnded are about people's browsers; it is
	// renewed when the identity provider was asked about the person again.
	SessionBegun   Event = "session.begun"
	SessionRenewed Event = "session.renewed"
	SessionEnded   Event = "session.ended"
	// PersonEnded: everything that a person allowed was ended. KeyMade: a person made a
	// key for themselves.
	PersonEnded Event = "person.ended"
	KeyMade     Event = "key.made"
	// SecurityEvent: an identity provider said that something happened to a person.
	SecurityEvent        Event = "security_event.taken"
	SecurityEventRefused Event = "security_event.refused"
	// AccessAdvised: an advisory tool policy would have denied it.
	AccessAdvised Event = "access.advised"
	// ToolsChanged: an MCP server has other tools than before.
	ToolsChanged Event = "tools.changed"
	// RelayFailed: the MCP server gave no answer to a request that was let through,
	// or none that can be passed on.
	RelayFailed Event = "relay.failed"
)

// Events lists every event, for metrics and documentation.
var Events = []Event{
	KeyGenerated, ClientRegistered, RegistrationRefused, AuthorizeRequested, AuthorizeRefused,
	DeviceRequested, DeviceRefused, DevicePolled, DeviceApproved, ConsentShown, ConsentGiven, ConsentDeclined, LoginStarted, LoginReturned, LoginRefused,
	LoginCompleted, TokenIssued, TokenRefreshed, TokenExchanged, TokenRefused, TokenRevoked, ProviderTokenDead,
	RevocationRefused, FamilyEnded, PolicyNarrowed, IntrospectionRefused, DenyListLoaded, DenyListBroken, UsersLoaded, UsersBroken, APIKeysLoaded, APIKeysBroken, ConfigLoaded, ConfigBroken,
	FirstUse, AccessDenied, SessionBegun, SessionRenewed, SessionEnded, PersonEnded, KeyMade, SecurityEvent, SecurityEventRefused,
	AccessAdvised, ToolsChanged, RelayFailed,
}

// Step is how far a sign-in has come. The set is closed, and ordered; it is also
// a metric label.
type Step string

// Steps of a sign-in, in order. Without a consent page no sign-in reaches the two
// that belong to it.
const (
	StepAuthorize    Step = "authorize"     // the client sent a browser here
	StepConsentShown Step = "consent_shown" // the first consent page
	StepApproved     Step = "approved"      // the user said yes
	StepProvider     Step = "provider"      // on the way to the identity provider, or our own login page
	StepCallback     Step = "callback"      // back from it; with our own page: the password was right
	StepCodeIssued   Step = "code_issued"   // on the way back to the client
	StepRedeemed     Step = "redeemed"      // the client has its token
)

// Steps lists every step, in order.
var Steps = []Step{StepAuthorize, StepConsentShown, StepApproved, StepProvider, StepCallback, StepCodeIssued, StepRedeemed}

// Entry is one line of the audit log. Empty fields are left out.
type Entry struct {
	Event    Event
	Step     Step           // that a sign-in reaches by this, "" for none; twice only if the user goes back
	Reason   reasons.Reason // why, of what was refused or special
	Flow     string
	Subject  string
	Email    string
	Actor    string // who acts for the subject, and for whom before
	Rules    string // of a trusted issuer, by which a machine got something
	Client   string // client id, shortened for self-describing ids
	Name     string // client name, as it calls itself
	Redirect string // host of the redirect URI
	Host     string
	Resource string
	Scope    string
	Withheld string // scopes that the rules did not give
	Method   string // MCP method, where the gateway says it
	Tool     string // MCP tool, where the gateway says it
	// ToolsAdded, ToolsChanged and ToolsRemoved are names of tools of the MCP server.
	ToolsAdded, ToolsChanged, ToolsRemoved string

	TokenID string
	Family  string // sign-in of a client that its tokens come from; the operator may deny it
	KeyID   string
	Cause   error // detail for operators; never a secret
	Watch   bool  // the gate watch asked; the line has no member for it

	count int // how many entries this one replaces, 0 for itself
}

// Schema is the version of what Fields lists. Fields, events and reasons may be
// added in one version; nothing changes its name or meaning.
const Schema = "1"

// Fields are the members of an entry, in order, for documentation. All are text,
// and shortened to 512 bytes; what is empty is left out.
var Fields = []struct{ Name, Meaning string }{
	{"schema", `version of this list, "` + Schema + `"`},
	{"event", "what happened, one of the events below"},
	{"reason", "why it was refused, one of the reasons below; also why an access would have been denied (`access.advised`) or something was ended, and what is unusual about a refresh"},
	{"step", "how far a sign-in has come by it, one of the steps below"},
	{"flow", "id of the sign-in, as on its pages"},
	{"subject", "who, as in the claim `sub` of tokens: the provider and its own stable identifier"},
	{"email", "verified e-mail address"},
	{"actor", "who acts for the subject: `now < before < first`, each by issuer and subject"},
	{"rules", "rules of `trustedIssuers` that gave a machine something"},
	{"client", "client id, shortened where the id carries its own registration"},
	{"client_name", "what the client calls itself"},
	{"redirect", "host of the redirect URI"},
	{"host", "host that was asked, as configured"},
	{"resource", "the MCP server, by its public URL"},
	{"scope", "scopes that were granted; of a denial those that would have opened it; of `tools.changed` those that open other tools now"},
	{"withheld", "scopes that the rules of the policy did not give"},
	{"mcp_method", "method of the MCP request, where the gateway says it"},
	{"mcp_tool", "tool, resource or prompt of the MCP request"},
	{"tools_added", "tools that the MCP server did not have before; ten at most are named, as in the next two"},
	{"tools_changed", "tools that the MCP server describes in another way than before, with another schema or other hints"},
	{"tools_removed", "tools that the MCP server has no more"},
	{"token_id", "claim `jti` of the access token"},
	{"family", "sign-in of a client that its tokens come from; may stand in the deny-list"},
	{"key_id", "signing key"},
	{"trace", "id of the trace, where there is one"},
	{"cause", "detail for operators, in no fixed form"},
	{"count", "how many entries this one stands for that were not written, since the last such entry; it has no other fields than `event`, `reason`, `host` and `subject`"},
}

// Log receives entries.
type Log struct {
	Logger *slog.Logger
	// Observe, if set, is called with each entry, whatever its level.
	Observe func(context.Context, Entry)
	// Bounds, if set, bound how much is written.
	Bounds *Bounds
	// Counted, if set, is told of each entry that is counted instead of written.
	Counted func()
	// Trace, if set, returns the id of the trace that the entry is part of, "" for none.
	Trace func(context.Context) string
}

// quiet events are the ordinary beginnings of what ends in a louder one.
var quiet = map[Event]bool{AuthorizeRequested: true, LoginReturned: true, DevicePolled: true}

// Write records e. Requests without a token are many and carry little; they, the
// questions of the gate watch and what is quiet go to debug level, and so does what is beyond the bounds.
// Everything else goes to info.
func (l *Log) Write(ctx context.Context, e Entry) {
	if l == nil {
		return
	}
	if l.Observe != nil {
		l.Observe(ctx, e)
	}
	level := slog.LevelInfo
	switch {
	case e.Event == DenyListBroken || e.Event == UsersBroken || e.Event == APIKeysBroken || e.Event == ConfigBroken:
		level = slog.LevelError // what the operator shut out may be let in
	case e.Event == AccessDenied && (e.Reason == reasons.NoToken || e.Watch) || quiet[e.Event]:
		level = slog.LevelDebug
	case !l.Bounds.admit(&e):
		level = slog.LevelDebug
		if l.Counted != nil {
			l.Counted()
		}
	}
	l.write(ctx, level, &e)
}

// write makes the line of e.
func (l *Log) write(ctx context.Context, level slog.Level, e *Entry) {
	if l.Logger == nil || !l.Logger.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 16)
	add := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, Clip(value)))
		}
	}
	add("schema", Schema)
	add("event", string(e.Event))
	add("reason", string(e.Reason))
	add("step", string(e.Step))
	add("flow", e.Flow)
	add("subject", e.Subject)
	add("email", e.Email)
	add("actor", e.Actor)
	add("rules", e.Rules)
	add("client", e.Client)
	add("client_name", e.Name)
	add("redirect", e.Redirect)
	add("host", e.Host)
	add("resource", e.Resource)
	add("scope", e.Scope)
	add("withheld", e.Withheld)
	add("mcp_method", e.Method)
	add("mcp_tool", e.Tool)
	add("tools_added", e.ToolsAdded)
	add("tools_changed", e.ToolsChanged)
	add("tools_removed", e.ToolsRemoved)
	add("token_id", e.TokenID)
	add("family", e.Family)
	add("key_id", e.KeyID)
	if l.Trace != nil {
		add("trace", l.Trace(ctx))
	}
	if e.Cause != nil {
		add("cause", e.Cause.Error())
	}
	if e.count > 0 {
		add("count", strconv.Itoa(e.count))
	}
	l.Logger.LogAttrs(ctx, level, "audit", slog.GroupAttrs("audit", attrs...))
}

const maxField = 512

// Clip shortens a field to what an entry may hold.
func Clip(s string) string {
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
