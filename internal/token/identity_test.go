package token

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestIdentityTokens(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	i, v := parts(t, &now)
	identities := &Identities{Keys: i.Keys, Lifetime: time.Minute}
	payload, err := Identity{
		Issuer: issuer, Audience: audience, Subject: "static:alice", Email: "alice@example.com", Name: `A "quoted" & <b>`,
		Groups: []string{"a", "b,c"}, Client: "client", Scope: "a b",
	}.Payload()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := identities.Sign(payload, now, now.Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) != identities.Size(payload) {
		t.Errorf("%d bytes, Size says %d", len(raw), identities.Size(payload))
	}
	if got := decoded(t, raw, 0); !strings.Contains(got, `"alg":"RS256"`) || !strings.Contains(got, `"typ":"mcp-identity+jwt"`) || !strings.Contains(got, i.Keys.Signing().ID) {
		t.Errorf("header %s", got)
	}
	var claims map[string]any
	if err := json.Unmarshal([]byte(decoded(t, raw, 1)), &claims); err != nil {
		t.Fatal(err)
	}
	if claims["exp"] != float64(now.Unix()+60) || claims["iat"] != float64(now.Unix()) || claims["name"] != `A "quoted" & <b>` || len(claims["groups"].([]any)) != 2 || claims["groups_omitted"] != nil {
		t.Errorf("%v", claims)
	}
	t.Run("RS-VAL-01 it opens nothing", func(t *testing.T) {
		if c, err := v.Verify(raw, issuer, audience); !errors.Is(err, ErrHeader) {
			t.Errorf("%+v, %v", c, err)
		}
		// Nor under the header of an access token: it holds no sealed person.
		access, _, err := i.Mint(Claims{Issuer: issuer, Audience: audience, Subject: "static:alice"}, Person{})
		if err != nil {
			t.Fatal(err)
		}
		header, _, _ := strings.Cut(access, ".")
		_, rest, _ := strings.Cut(raw, ".")
		if c, err := v.Verify(header+"."+rest, issuer, audience); !errors.Is(err, ErrMalformed) {
			t.Errorf("%+v, %v", c, err)
		}
	})
}
