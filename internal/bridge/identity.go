package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/jwks"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/signed"
)

// identityType is the type of the signed identity header (docs/identity.md).
const identityType = "mcp-identity+jwt"

// leeway is how far the clocks of the two services may differ.
const leeway = 30 * time.Second

// identities checks the signed identity header.
type identities struct {
	header, issuer, resource string
	keys                     *jwks.Set
	now                      func() time.Time
}

func newIdentities(s *Settings, log *slog.Logger) *identities {
	source := (&jwks.Source{Issuer: s.Issuer, URL: s.KeysURL}).Over(http.DefaultTransport)
	return &identities{s.IdentityHeader, s.Issuer, s.Resource, jwks.NewSet(s.Issuer, source.Fetch, func(f jwks.Fetch) {
		if f.Err != nil {
			log.Error("the keys of the service that signs the identity header cannot be had", "error", f.Err)
		}
	}, time.Now), time.Now}
}

// person returns the person of a request, issuer and subject. The error says what is
// wrong with the header.
func (i *identities) person(ctx context.Context, r *http.Request) (string, error) {
	values := r.Header.Values(i.header)
	if len(values) != 1 || values[0] == "" || values[0] == "-" {
		return "", errors.New("the request has no signed identity header, or several: it did not come through the gateway")
	}
	t, bad := signed.Parse(values[0], []string{identityType}, []jose.SignatureAlgorithm{jose.RS256})
	if bad != "" {
		return "", errors.New(bad.Meaning())
	}
	issuer, _ := t.Texts("iss")
	audience, _ := t.Texts("aud")
	subject, _ := t.Texts("sub")
	expires, _ := t.Date("exp") // zero, which has long expired, if there is none
	issued, _ := t.Date("iat")
	now := i.now()
	switch {
	case !slices.Equal(issuer, []string{i.issuer}):
		return "", errors.New("the identity header is of another issuer")
	case !slices.Equal(audience, []string{i.resource}):
		return "", errors.New("the identity header is for another MCP server")
	case len(subject) != 1 || subject[0] == "":
		return "", errors.New("the identity header names no subject")
	case now.After(expires.Add(leeway)) || now.Add(leeway).Before(issued):
		return "", errors.New("the identity header has expired, or is of the future")
	}
	key, bad := t.Verify(i.keys, i.issuer, issued)
	if key == nil && bad == "" && i.keys.Await(ctx) {
		key, bad = t.Verify(i.keys, i.issuer, issued)
	}
	switch {
	case bad != "":
		return "", fmt.Errorf("the identity header: %s", bad.Meaning())
	case key == nil:
		return "", errors.New("the identity header is signed with a key that its issuer does not publish")
	}
	return i.issuer + " " + subject[0], nil
}
