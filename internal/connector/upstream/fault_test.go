package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
)

// What waiting does not mend is never told as unavailable, at a sign-in or at a
// refresh, and the text says what to do.
func TestPermanentFaults(t *testing.T) {
	request := func(err error) error { return &url.Error{Op: "Get", URL: "https://sso.example", Err: err} }
	refused := func(code string, status int) error {
		return &oauth2.RetrieveError{ErrorCode: code, Response: &http.Response{Status: fmt.Sprint(status), StatusCode: status}}
	}
	for name, tt := range map[string]struct {
		err  error
		says string // "" for what may pass
	}{
		"unknown authority":     {request(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), "caFile"},
		"other name":            {request(&tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}}), "another name"},
		"expired":               {request(&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}), "clock"},
		"no TLS":                {request(tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}), "does not speak TLS"},
		"plain HTTP":            {request(http.ErrSchemeMismatch), "does not speak TLS"},
		"no such name":          {request(&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}}), "DNS"},
		"moved for good":        {request(&StatusError{Code: http.StatusMovedPermanently, Location: "https://new.example/x"}), "https://new.example/x"},
		"wrong secret":          {refused("invalid_client", 401), "clientSecret"},
		"wrong secret, GitHub":  {refused("incorrect_client_credentials", 200), "clientSecret"},
		"wrong secret, no code": {refused("", 401), "clientSecret"},
		"grant not allowed":     {refused("unauthorized_client", 400), "allow it there"},
		"redirect URI":          {refused("redirect_uri_mismatch", 400), "check-config"},
		"scope":                 {refused("invalid_scope", 400), "provider.scopes"},
		"DNS is down":           {request(&net.DNSError{Err: "server misbehaving", Name: "x", IsTemporary: true}), ""},
		"connection refused":    {request(&net.OpError{Op: "dial", Err: errors.New("connection refused")}), ""},
		"moved for now":         {request(&StatusError{Code: http.StatusTemporaryRedirect}), ""},
		"maintenance":           {request(&StatusError{Code: http.StatusServiceUnavailable}), ""},
	} {
		t.Run(name, func(t *testing.T) {
			for when, err := range map[string]error{"sign-in": Failed("test", tt.err), "refresh": RecheckFailed("test", tt.err)} {
				permanent := errors.Is(err, connector.ErrMisconfigured)
				if permanent != (tt.says != "") || permanent == errors.Is(err, connector.ErrUnavailable) && name != "moved for now" || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("%s: %v", when, err)
				}
			}
		})
	}
	for name, edit := range map[string]func(*tls.Config){
		"the provider wants a certificate of the client": func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert },
		"the provider speaks old TLS alone":              func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.NotFoundHandler())
			server.TLS = &tls.Config{}
			edit(server.TLS)
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.StartTLS()
			defer server.Close()
			_, err := NewClient(server.Client()).Get(t.Context(), server.URL, nil, new(any))
			if err = Failed("discovery", err); !errors.Is(err, connector.ErrMisconfigured) || !strings.Contains(err.Error(), "ends the TLS handshake") {
				t.Error(err)
			}
		})
	}
	t.Run("a redirect is named without its query", func(t *testing.T) {
		server := httptest.NewServer(http.RedirectHandler("/new/?secret=1#x", http.StatusMovedPermanently))
		defer server.Close()
		_, err := NewClient(nil).Get(t.Context(), server.URL+"/old", nil, new(any))
		if err = Failed("discovery", err); !strings.Contains(err.Error(), ", to "+server.URL+"/new/") || strings.Contains(err.Error(), "secret") {
			t.Error(err)
		}
	})
}
