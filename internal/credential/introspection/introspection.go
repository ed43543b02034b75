// Package introspection is the kind of credential that another authorization
// server issues and that says nothing by itself: the server is asked about it (RFC
// 7662).
//
// A token goes to one server, the one that the MCP server's entry names, and there
// alone. What the server does not say in a form that can be read is no answer: then
// nothing is let in, nothing is remembered, and no client is told that its token is
// bad.
package introspection

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/claim"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/asked"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/strictjson"
)

// Server is one authorization server as one MCP server takes its tokens.
type Server struct {
	*Config
	Issuer string
	// Principal checks what the server says of a token against the entry of the MCP
	// server (audience, tenant, clients) and returns whom it is for.
	Principal func(raw string, said claim.Set, r *resource.Resource) (credential.Principal, error)
	// Answer verifies a signed answer for this service, by its client id, and returns
	// what it says of the token.
	Answer func(ctx context.Context, signed, clientID string, r *resource.Resource) ([]byte, error)
	// Transport is the way to the server.
	Transport http.RoundTripper
	// Report, if set, is told why there was no answer.
	Report func(issuer string, err error)
}

// Kind has tokens introspected. New makes one. It implements credential.Asker.
type Kind struct {
	at  map[*resource.Resource]*asking
	now func() time.Time
}

// asking is a Server with what it said.
type asking struct {
	Server
	client  *asked.Client
	answers *asked.Answers[credential.Principal]
}

// New returns the kind that is turned on nowhere.
func New(now func() time.Time) *Kind { return &Kind{map[*resource.Resource]*asking{}, now} }

// Accept turns the kind on at r. It must not be called once there are requests, and
// once for each r: an opaque token does not say whose it is, and may be shown to
// its own issuer only.
func (k *Kind) Accept(r *resource.Resource, s Server) {
	if s.Report == nil {
		s.Report = func(string, error) {}
	}
	k.at[r] = &asking{s, asked.NewClient(s.Transport, s.Timeout), asked.New[credential.Principal](s.Cache, s.Negative, k.now)}
}

// Adopt takes over what from was told about tokens at old, which is the same MCP server
// with the same settings. It must be called after Accept and before k is used.
func (k *Kind) Adopt(r *resource.Resource, from *Kind, old *resource.Resource) {
	if a, before := k.at[r], from.at[old]; a != nil && before != nil {
		a.answers = before.answers
	}
}

// maxOpaque bounds an opaque token, in bytes.
const maxOpaque = 4 << 10

// Recognises reports whether raw is to be introspected at r: what is no JWT, and
// where that is configured a JWT of the server.
func (k *Kind) Recognises(raw string, r *resource.Resource) bool {
	a := k.at[r]
	if a == nil {
		return false
	}
	issuer, isJWT := credential.UnverifiedIssuer(raw)
	if isJWT {
		return a.All && issuer == a.Issuer
	}
	return len(raw) <= maxOpaque && b64token(raw)
}

// b64token reports whether raw has the form of a token (RFC 6750, section 2.1).
func b64token(raw string) bool {
	body := strings.TrimRight(raw, "=")
	return body != "" && !strings.ContainsFunc(body, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && !strings.ContainsRune("-._~+/", c)
	})
}

// Verify returns the principal of a token that was introspected a moment ago.
func (k *Kind) Verify(raw string, r *resource.Resource) (credential.Principal, error) {
	p, until, err := k.at[r].answers.Known(asked.KeyOf(raw, r.URI))
	return counting(p, until, err)
}

// Ask introspects a token.
func (k *Kind) Ask(ctx context.Context, raw string, r *resource.Resource) (credential.Principal, error) {
	a := k.at[r]
	p, until, err := a.answers.Ask(ctx, asked.KeyOf(raw, r.URI), r.URI, func(ctx context.Context) (credential.Principal, time.Time, error) {
		return a.ask(ctx, raw, r, k.now())
	})
	return counting(p, until, err)
}

// Try asks a server about a token that was never issued, and returns nil if it says so. It
// shows that the endpoint is reached, and knows this service as a client that may ask.
func Try(ctx context.Context, s Server, r *resource.Resource, now time.Time) error {
	a := &asking{Server: s, client: asked.NewClient(s.Transport, s.Timeout)}
	_, err := a.introspect(ctx, "check-config-"+rand.Text(), r, now)
	reason, refused := refusal(err)
	switch {
	case err == nil, refused && reason != reasons.InactiveToken:
		return errors.New("the introspection endpoint says that a token which was never issued is active; it must not be used")
	case refused:
		return nil
	}
	return err
}

func counting(p credential.Principal, until time.Time, err error) (credential.Principal, error) {
	if err != nil {
		return credential.Principal{}, err
	}
	p.Until = until.Unix()
	return p, nil
}

func (a *asking) ask(ctx context.Context, raw string, r *resource.Resource, now time.Time) (credential.Principal, time.Time, error) {
	said, err := a.introspect(ctx, raw, r, now)
	if err != nil {
		if _, refused := refusal(err); !refused {
			a.Report(a.Issuer, err)
		}
		return credential.Principal{}, time.Time{}, err
	}
	if !said.Has("exp") { // RFC 7662, section 2.2: it is optional
		said["exp"] = json.RawMessage(strconv.FormatInt(now.Add(a.Cache).Unix()+1, 10))
	}
	if !said.Has("iss") {
		said["iss"], _ = json.Marshal(a.Issuer)
	}
	p, err := a.Principal(raw, said, r)
	if err != nil {
		return credential.Principal{}, time.Time{}, err
	}
	return p, time.Unix(p.Expires, 0), nil
}

// introspect asks the server (RFC 7662, section 2.1) and returns what it says of an
// active token.
func (a *asking) introspect(ctx context.Context, raw string, r *resource.Resource, now time.Time) (claim.Set, error) {
	form, header := url.Values{"token": {raw}, "token_type_hint": {"access_token"}}, http.Header{}
	audience := a.Endpoint
	if a.ForIssuer {
		audience = a.Issuer
	}
	if err := a.Credentials.Prove(form, header, audience, now); err != nil {
		return nil, err
	}
	header.Set("Content-Type", "application/x-www-form-urlencoded")
	header.Set("Accept", "application/json")
	if a.Signed {
		header.Set("Accept", signedType)
	}
	status, media, body, err := a.client.Post(ctx, a.Endpoint, header, form.Encode())
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusUnauthorized, status == http.StatusBadRequest, status == http.StatusForbidden:
		return nil, fmt.Errorf("the introspection endpoint refuses this service with status %d; check clientID, its secret or key, clientAuthMethod, and that this client may introspect", status)
	case status != http.StatusOK:
		return nil, fmt.Errorf("the introspection endpoint answers with status %d", status)
	}
	if a.Signed {
		if media, _, _ = strings.Cut(media, ";"); !strings.EqualFold(strings.TrimSpace(media), signedType) {
			return nil, fmt.Errorf("the introspection endpoint's answer is not signed: it must be %s", signedType)
		}
		if body, err = a.Answer(ctx, string(body), a.Credentials.ClientID, r); err != nil {
			return nil, fmt.Errorf("the introspection endpoint: %w", err)
		}
	}
	return read(body)
}

// signedType is the media type of a signed answer (RFC 9701, section 4).
const signedType = "application/token-introspection+jwt"

// maxDepth of an answer: Keycloak's roles have depth three.
const maxDepth = 10

// read reads an answer (RFC 7662, section 2.2).
func read(body []byte) (claim.Set, error) {
	members, err := strictjson.Members(body, maxDepth)
	if err != nil {
		return nil, fmt.Errorf("the introspection endpoint's answer %w", err)
	}
	var active *bool
	if json.Unmarshal(members["active"], &active) != nil || active == nil {
		return nil, fmt.Errorf("the introspection endpoint's answer does not say whether the token is active")
	}
	if !*active {
		return nil, credential.Refused{Reason: reasons.InactiveToken}
	}
	said := claim.Set(members)
	switch kind, problem := said.Text("token_type"); {
	case problem != "":
		return nil, credential.Refused{Reason: reasons.WrongTokenType}
	case strings.EqualFold(kind, "mtls"), strings.EqualFold(kind, "DPoP") && !said.Has("cnf"): // and it does not say to which key
		return nil, credential.Refused{Reason: reasons.BoundToken}
	case strings.EqualFold(kind, "DPoP"): // cnf is looked at with the other claims
	case kind != "" && !strings.EqualFold(kind, "Bearer") && !strings.EqualFold(kind, "access_token"):
		return nil, credential.Refused{Reason: reasons.WrongTokenType}
	}
	if use := said.String("token_use"); use == "refresh_token" { // Ory Hydra
		return nil, credential.Refused{Reason: reasons.WrongTokenType}
	}
	return said, nil
}

func refusal(err error) (reason reasons.Reason, ok bool) {
	refused, ok := err.(credential.Refused)
	return refused.Reason, ok
}
