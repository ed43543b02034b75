package doctor

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"
)

// What is wrong with a token of another authorization server is told by the token
// itself, because the answer must not.
func TestDeniedForeignTokens(t *testing.T) {
	const (
		resource = "https://mcp.example.com/mcp"
		issuer   = "https://login.example.com/realms/corp"
	)
	now := time.Now()
	jwt := func(change map[string]any) string {
		claims := map[string]any{"iss": issuer, "aud": []any{"other", resource}, "iat": now.Unix(), "sub": "1"}
		for k, v := range change {
			if claims[k] = v; v == nil {
				delete(claims, k)
			}
		}
		part := func(v any) string {
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return base64.RawURLEncoding.EncodeToString(b)
		}
		return part(map[string]any{"alg": "RS256", "iss": "https://header.example"}) + "." + part(claims) + ".c2lnbmF0dXJl"
	}
	for name, tt := range map[string]struct {
		token, scope string
		status       int
		issuer       string // of the metadata, if another
		want         string
	}{
		"nothing to see":             {token: jwt(nil), want: "session.denied"},
		"aud as one text":            {token: jwt(map[string]any{"aud": resource + "/"}), want: "session.denied"},
		"no audience":                {token: jwt(map[string]any{"aud": nil}), want: "session.audience"},
		"the client's own audience":  {token: jwt(map[string]any{"aud": "account"}), want: "session.audience"},
		"an audience that begins so": {token: jwt(map[string]any{"aud": resource + "/x"}), want: "session.audience"},
		"opaque":                     {token: "9d2c1f", want: "session.opaque"},
		"three dots and no JWT":      {token: "a.b.c", want: "session.opaque"},
		"another issuer":             {token: jwt(map[string]any{"iss": "http://keycloak:8080/realms/corp"}), want: "session.issuer"},
		"from the future":            {token: jwt(map[string]any{"iat": now.Add(5 * time.Minute).Unix()}), want: "session.clock"},
		"not yet valid":              {token: jwt(map[string]any{"nbf": now.Add(5 * time.Minute).Unix()}), want: "session.clock"},
		"a little early":             {token: jwt(map[string]any{"iat": now.Add(5 * time.Second).Unix()}), want: "session.denied"},
		"no scope that is known":     {token: jwt(nil), scope: "openid profile", status: http.StatusForbidden, want: "session.scopes"},
		"a scope that is known":      {token: jwt(nil), scope: "openid notes:read", status: http.StatusForbidden, want: "session.denied"},
		"keys that cannot be had":    {token: jwt(nil), status: http.StatusServiceUnavailable, want: "session.unverified"},
		"a token of the host's own":  {token: "9d2c1f", issuer: "https://mcp.example.com", want: "session.denied"},
	} {
		t.Run(name, func(t *testing.T) {
			at, _ := url.Parse(resource)
			w := &walk{
				url: at, token: &tokens{Access: tt.token, Scope: tt.scope}, server: &serverDocument{Issuer: issuer},
				resource: &resourceDocument{Resource: resource, ScopesSupported: []string{"notes:read", "notes:write"}},
			}
			if tt.issuer != "" {
				w.server.Issuer = tt.issuer
			}
			r := httptest.NewRecorder()
			r.Header().Set("Date", now.UTC().Format(http.TimeFormat))
			r.WriteHeader(max(tt.status, http.StatusUnauthorized))
			got := w.denied(r.Result())
			if got.status != Faulty || len(got.faults) != 1 || got.faults[0].ID != tt.want {
				t.Errorf("%+v, want %s", got, tt.want)
			}
		})
	}
}

func TestResourceRefusedAtSignIn(t *testing.T) {
	w := &walk{server: &serverDocument{}, resource: &resourceDocument{Resource: "https://mcp.example.com/mcp"}}
	got := w.judge(url.Values{"state": {"s"}, "error": {"invalid_target"}}, "s")
	if len(got.faults) != 1 || got.faults[0].ID != "login.target" {
		t.Errorf("%+v", got)
	}
}
