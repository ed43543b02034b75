package jwks

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestWellKnown(t *testing.T) {
	for issuer, want := range map[string]string{
		"https://as.example":        "https://as.example/.well-known/openid-configuration https://as.example/.well-known/oauth-authorization-server",
		"https://as.example/":       "https://as.example/.well-known/openid-configuration https://as.example/.well-known/oauth-authorization-server",
		"https://as.example/realm/": "https://as.example/realm/.well-known/openid-configuration https://as.example/.well-known/oauth-authorization-server/realm https://as.example/.well-known/openid-configuration/realm",
	} {
		if got := strings.Join(wellKnown(issuer), " "); got != want {
			t.Errorf("%s: %s", issuer, got)
		}
	}
}

// The bearer token for an API server goes to its origin alone, wherever its metadata
// says that the keys are.
func TestSourceToken(t *testing.T) {
	seen := map[string]string{}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen["elsewhere"] = r.Header.Get("Authorization")
		w.Write([]byte(`{"keys":[]}`))
	}))
	defer elsewhere.Close()
	var api *httptest.Server
	api = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen[r.URL.Path] = r.Header.Get("Authorization")
		if strings.HasSuffix(r.URL.Path, "openid-configuration") {
			w.Write([]byte(`{"issuer":"` + api.URL + `","jwks_uri":"` + elsewhere.URL + `/keys"}`))
			return
		}
		w.Write([]byte(`{"keys":[]}`))
	}))
	defer api.Close()
	token := func() (string, error) { return "secret", nil }
	if _, err := (&Source{Issuer: api.URL, Token: token}).Over(http.DefaultTransport).Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := (&Source{Issuer: "https://kubernetes.default.svc", URL: api.URL + "/openid/v1/jwks", Token: token}).Over(http.DefaultTransport).Fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	if seen["/.well-known/openid-configuration"] != "Bearer secret" || seen["/openid/v1/jwks"] != "Bearer secret" || seen["elsewhere"] != "" {
		t.Errorf("%v", seen)
	}
	broken := errors.New("no such file")
	if _, err := (&Source{Issuer: api.URL, Token: func() (string, error) { return "", broken }}).Over(http.DefaultTransport).Fetch(t.Context()); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}

// The API server of Kubernetes, 1.37 among them, answers 406 to a request that does not
// name the type of key sets, and sends its discovery document as JSON alone.
func TestSourceAsKubernetesWantsIt(t *testing.T) {
	var api *httptest.Server
	api = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		media, body := "application/json", `{"issuer":"`+api.URL+`","jwks_uri":"`+api.URL+`/openid/v1/jwks"}`
		if r.URL.Path == "/openid/v1/jwks" {
			media, body = "application/jwk-set+json", `{"keys":[]}`
		}
		if !strings.Contains(r.Header.Get("Accept"), media) {
			w.WriteHeader(http.StatusNotAcceptable)
			return
		}
		w.Header().Set("Content-Type", media)
		w.Write([]byte(body))
	}))
	defer api.Close()
	for _, s := range []*Source{{Issuer: api.URL}, {Issuer: "https://kubernetes.default.svc", URL: api.URL + "/openid/v1/jwks"}} {
		if _, err := s.Over(http.DefaultTransport).Fetch(t.Context()); err != nil {
			t.Errorf("%s: %v", s.Issuer, err)
		}
	}
}
