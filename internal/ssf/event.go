package ssf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/revocation"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/signed"
)

// types are those of a security event (RFC 8417, section 2.3). A token of another
// type is none, even with the same signature.
var types = []string{"secevent+jwt", "application/secevent+jwt"}

// ending are the events by which what a person allowed ends (OpenID CAEP 1.0,
// section 3; OpenID RISC 1.0, section 2). Others have no effect.
var ending = []string{
	"https://schemas.openid.net/secevent/caep/event-type/session-revoked",
	"https://schemas.openid.net/secevent/caep/event-type/credential-change",
	"https://schemas.openid.net/secevent/risc/event-type/account-disabled",
	"https://schemas.openid.net/secevent/risc/event-type/account-purged",
	"https://schemas.openid.net/secevent/risc/event-type/sessions-revoked",
	"https://schemas.openid.net/secevent/risc/event-type/account-credential-change-required",
}

// Error codes of RFC 8935, section 2.4.
const (
	invalidRequest   = "invalid_request"
	invalidKey       = "invalid_key"
	invalidIssuer    = "invalid_issuer"
	invalidAudience  = "invalid_audience"
	authFailed       = "authentication_failed"
	temporarilyUnfit = "temporarily_unavailable" // not of the standard; goes with 503
)

// refused says why an event is not taken.
type refused struct {
	code, text string
	reason     reasons.Reason
}

func (r *refused) Error() string { return r.text }

func refuse(code string, reason reasons.Reason, format string, args ...any) *refused {
	return &refused{code, fmt.Sprintf(format, args...), reason}
}

// event is one that was verified.
type event struct {
	id    string
	types []string // of its events
	// ends is whom it is about, the zero Person for no one that this service can
	// name; at is when it happened.
	ends revocation.Person
	at   time.Time
}

// skew is how far the transmitter's clock may be ahead.
const skew = 5 * time.Minute

// maxJTI bounds the id of an event.
const maxJTI = 256

// payload is what is read of the claims. sub, exp and the rest of a token's have no
// meaning here (RFC 8417, section 2.2).
type payload struct {
	JTI     string                     `json:"jti"`
	Subject json.RawMessage            `json:"sub_id"`
	Events  map[string]json.RawMessage `json:"events"`
}

// read verifies an event: it is signed by the transmitter, for this service.
func (s *Stream) read(raw string, keys *jwks.Set, await func() bool, now time.Time) (*event, error) {
	t, reason := signed.Parse(raw, types, signed.Algorithms)
	if reason != "" {
		return nil, refuse(invalidRequest, reason, "this is no security event: %s", reason)
	}
	issued, ok := t.Date("iat")
	if !ok || issued.IsZero() || issued.After(now.Add(skew)) {
		return nil, refuse(invalidRequest, reasons.TokenNotYetValid, "iat is missing, or lies in the future")
	}
	if t.Claims.String("iss") != s.Issuer {
		return nil, refuse(invalidIssuer, reasons.WrongIssuer, "iss is not the issuer of this stream")
	}
	if audience, ok := t.Texts("aud"); !ok || !slices.Contains(audience, s.Audience) {
		return nil, refuse(invalidAudience, reasons.WrongAudience, "aud does not name this service")
	}
	key, reason := t.Verify(keys, s.Issuer, issued)
	if key == nil && await() {
		key, reason = t.Verify(keys, s.Issuer, issued)
	}
	switch {
	case key == nil && (reason == "" || reason == reasons.IssuerKeysUnavailable):
		return nil, refuse(temporarilyUnfit, reasons.IssuerKeysUnavailable, "the issuer's keys cannot be had right now")
	case key == nil:
		return nil, refuse(invalidKey, reason, "the signature does not verify")
	}
	var p payload
	claims, err := json.Marshal(t.Claims)
	if err != nil || json.Unmarshal(claims, &p) != nil || p.JTI == "" || len(p.JTI) > maxJTI || len(p.Events) == 0 {
		return nil, refuse(invalidRequest, reasons.MalformedToken, "jti or events is missing or malformed")
	}
	return s.about(&p, issued, now), nil
}

// about finds out whom an event is about, and when it happened.
func (s *Stream) about(p *payload, issued, now time.Time) *event {
	e := &event{id: p.JTI, at: issued}
	for name, raw := range p.Events {
		e.types = append(e.types, name)
		if !slices.Contains(ending, name) {
			continue
		}
		var said struct {
			Subject   json.RawMessage `json:"subject"` // of drafts before 1.0
			Timestamp float64         `json:"event_timestamp"`
		}
		_ = json.Unmarshal(raw, &said) // an event without details is one all the same
		if at := time.Unix(int64(said.Timestamp), 0); said.Timestamp > 0 && at.Before(now) {
			e.at = at
		}
		for _, subject := range []json.RawMessage{p.Subject, said.Subject} {
			if e.ends == (revocation.Person{}) {
				e.ends = s.person(subject)
			}
		}
	}
	slices.Sort(e.types)
	if e.at.After(now) {
		e.at = now
	}
	return e
}

// subject is a subject identifier (RFC 9493), or a complex one of SSF, section 2.
type subject struct {
	Format string          `json:"format"`
	Type   string          `json:"subject_type"` // of drafts before 1.0
	Issuer string          `json:"iss"`
	Sub    string          `json:"sub"`
	Email  string          `json:"email"`
	ID     string          `json:"id"`
	User   json.RawMessage `json:"user"`
}

// maxName bounds what an event names a person by.
const maxName = 512

// person is whom a subject identifier names, the zero Person for no one.
func (s *Stream) person(raw json.RawMessage) revocation.Person {
	if len(bytes.TrimSpace(raw)) == 0 {
		return revocation.Person{}
	}
	var v subject
	if json.Unmarshal(raw, &v) != nil {
		return revocation.Person{}
	}
	if len(v.User) > 0 {
		inner := v.User
		v = subject{}
		if json.Unmarshal(inner, &v) != nil || len(v.User) > 0 {
			return revocation.Person{}
		}
	}
	format := v.Format
	if format == "" {
		format = v.Type
	}
	if format == "iss-sub" {
		format = formatIssSub
	}
	switch {
	case !s.accepts(format):
	case format == formatIssSub && v.Issuer == s.SubjectIssuer && v.Sub != "" && len(v.Sub) <= maxName:
		return revocation.BySubject(s.Namespace + ":" + v.Sub)
	case format == formatOpaque && v.ID != "" && len(v.ID) <= maxName:
		return revocation.BySubject(s.Namespace + ":" + v.ID)
	case format == formatEmail && v.Email != "" && len(v.Email) <= maxName:
		return revocation.ByEmail(v.Email)
	}
	return revocation.Person{}
}
