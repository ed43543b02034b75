package clientauth

import (
	"crypto/ed25519"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

func TestProve(t *testing.T) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	secret := Credentials{ClientID: "a b", Secret: conf.NewSecret("s:cr+t/")}
	now := time.Unix(1_800_000_000, 0)
	prove := func(c Credentials, method string) (*http.Request, url.Values, error) {
		form, r := url.Values{"token": {"t"}}, &http.Request{Header: http.Header{}}
		c.Method = method
		return r, form, c.Prove(form, r.Header, "https://as.example/introspect", now)
	}

	r, form, err := prove(secret, Basic)
	id, password, ok := r.BasicAuth()
	if err != nil || !ok || id != "a+b" || password != "s%3Acr%2Bt%2F" || len(form) != 1 {
		t.Errorf("basic: %v %q %q %v", err, id, password, form)
	}
	r, form, err = prove(secret, Post)
	if err != nil || len(r.Header) != 0 || form.Get("client_id") != "a b" || form.Get("client_secret") != "s:cr+t/" {
		t.Errorf("post: %v %v", err, form)
	}

	keyed := Credentials{ClientID: "us", Key: NewKey(private, "EdDSA", "k1")}
	r, form, err = prove(keyed, PrivateKeyJWT)
	if err != nil || len(r.Header) != 0 {
		t.Fatal(err)
	}
	token, err := jwt.ParseSigned(form.Get("client_assertion"), []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		t.Fatal(err)
	}
	var claims jwt.Claims
	if err := token.Claims(public, &claims); err != nil || claims.Issuer != "us" || claims.Subject != "us" || claims.ID == "" ||
		!claims.Audience.Contains("https://as.example/introspect") || !claims.Expiry.Time().After(now) || claims.Expiry.Time().After(now.Add(5*time.Minute)) {
		t.Errorf("%v %+v", err, claims)
	}
	if _, again, _ := prove(keyed, PrivateKeyJWT); again.Get("client_assertion") == form.Get("client_assertion") {
		t.Error("an assertion came twice")
	}
	if _, _, err := prove(secret, "none"); err == nil {
		t.Error("a request without proof")
	}
	if shown := fmt.Sprintf("%v %+v %#v", secret, keyed, keyed); strings.Contains(shown, "s:cr+t/") || strings.Contains(shown, fmt.Sprint(private)) {
		t.Error("credentials print")
	}
}
