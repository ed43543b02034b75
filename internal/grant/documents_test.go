package grant_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress/egresstest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// announced reports whether clients are told of metadata documents.
func announced(t *testing.T, s *servertest.Service) bool {
	t.Helper()
	return s.Get(t, "https://"+servertest.Host+"/.well-known/oauth-authorization-server").JSON["client_id_metadata_document_supported"] == true
}

func documentClient(s *servertest.Service, id string) *servertest.Client {
	return &servertest.Client{Service: s, Host: servertest.Host, ID: id, RedirectURI: appCallback, Resource: servertest.Resource}
}

// A client that knows documents and never falls back gets to register at its
// next try, where this service has no way out.
func TestDocumentsAreNotAnnouncedWithoutNetwork(t *testing.T) {
	t.Parallel()
	for name, network := range map[string]egress.Network{
		"no connection": {
			Lookup: func(context.Context, string) ([]netip.Addr, error) {
				return []netip.Addr{netip.MustParseAddr("93.184.215.14")}, nil
			},
			Dial: func(context.Context, netip.AddrPort) (net.Conn, error) { return nil, errors.New("connection refused") },
		},
		"no names": {Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := servertest.Start(t, servertest.Options{Network: network})
			if !announced(t, s) {
				t.Fatal("not announced at first")
			}
			if page := s.NewBrowser().Open(t, documentClient(s, appID).Begin().URL()); page.Status < 500 {
				t.Fatalf("%d %s", page.Status, page.Text())
			}
			if announced(t, s) {
				t.Error("announced again, so the client never registers")
			}
			s.MustPass(t, servertest.Resource, s.NewClient(t, servertest.Host, nil).AccessToken(t, s.NewBrowser()))
		})
	}
	t.Run("where clients cannot register it stays announced", func(t *testing.T) {
		s := servertest.Start(t, servertest.Options{
			Network: egress.Network{Dial: func(context.Context, netip.AddrPort) (net.Conn, error) { return nil, errors.New("refused") }},
			Edit:    func(f *config.File) { f.Registration.Dynamic.Enabled = false },
		})
		s.NewBrowser().Open(t, documentClient(s, appID).Begin().URL())
		if !announced(t, s) {
			t.Error("clients are left without a way")
		}
	})
}

// A fault that lasts is told as one: what it is to the operator's log, and to a
// stranger that it lasts, in a page and at the token endpoint.
func TestDocumentFaultsThatLast(t *testing.T) {
	t.Parallel()
	internet := egresstest.New(t)
	internet.Site("private.example.org", http.NotFoundHandler())
	internet.Resolve("private.example.org", "10.1.2.3")
	internet.Site("wire.example.org", http.NotFoundHandler())
	internet.Resolve("wire.example.org", "168.63.129.16")
	s := servertest.Start(t, servertest.Options{Network: internet.Network()})
	for host, want := range map[string]string{
		"private.example.org": "does not connect to", "wire.example.org": "does not connect to", "absent.example.org": "no such host",
	} {
		c := documentClient(s, "https://"+host+"/client.json")
		page := s.NewBrowser().Open(t, c.Begin().URL())
		if page.Status != http.StatusInternalServerError || strings.Contains(page.Text(), "Wait") || !strings.Contains(page.Text(), "is unknown to this service, or has an address that it does not connect to") {
			t.Errorf("%s: %d %s", host, page.Status, page.Text())
		}
		entry := s.Log.Last(audit.AuthorizeRefused)
		if cause := entry["cause"]; entry["reason"] != "client_document_unreachable" || !strings.Contains(cause, want) {
			t.Errorf("%s: %v", host, entry)
		}
		answer := c.Token(t, url.Values{"grant_type": {"authorization_code"}, "client_id": {c.ID}, "code": {"x"}, "code_verifier": {"x"}})
		if answer.Status != http.StatusInternalServerError || answer.String("error") != "server_error" {
			t.Errorf("%s: %d %s", host, answer.Status, answer.Body)
		}
	}
	t.Run("an untrusted certificate", func(t *testing.T) {
		network := internet.Network()
		network.Roots = nil
		internet.Site("app.example.org", http.NotFoundHandler())
		s := servertest.Start(t, servertest.Options{Network: network})
		page := s.NewBrowser().Open(t, documentClient(s, appID).Begin().URL())
		if !strings.Contains(page.Text(), "has a certificate that this service does not trust") {
			t.Errorf("%d %s", page.Status, page.Text())
		}
	})
}

// A document on a private host that allowedDomains names works; below a
// wildcard it does not.
func TestDocumentOnANamedPrivateHost(t *testing.T) {
	t.Parallel()
	for allowed, works := range map[string]bool{"apps.corp.example:8443": true, "apps.corp.example": false, "*.corp.example": false} {
		internet := egresstest.New(t)
		const id = "https://apps.corp.example:8443/client.json"
		internet.Site("apps.corp.example", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"client_id":"`+id+`","client_name":"App","redirect_uris":["`+appCallback+`"]}`)
		}))
		internet.Resolve("apps.corp.example", "10.1.2.3")
		s := servertest.Start(t, servertest.Options{Network: internet.Network(), Edit: func(f *config.File) {
			f.Registration.MetadataDocuments.AllowedDomains = []string{allowed}
		}})
		page := s.NewBrowser().Open(t, documentClient(s, id).Begin().URL())
		if (page.Status == http.StatusOK) != works {
			t.Errorf("allowed %s: %d %s", allowed, page.Status, page.Text())
		}
	}
}

// A key set whose URL the configuration writes out may be on a private host, of
// any name and port; the same host is closed to a stranger's URL.
func TestKeySetAtANamedPrivateURL(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const sets = "https://keys.corp.internal:9443/jwks"
	internet := egresstest.New(t)
	internet.Site("keys.corp.internal", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k"}}})
	}))
	send := func(s *servertest.Service) *servertest.Answer {
		now := s.Clock.Now().Unix()
		c := &servertest.Client{Service: s, Host: servertest.Host, ID: "agent"}
		return c.Token(t, url.Values{
			"grant_type": {"authorization_code"}, "code": {"x"}, "code_verifier": {"x"},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
			"client_assertion": {clientAssertion(t, jose.ES256, key, "k", nil, map[string]any{
				"iss": "agent", "sub": "agent", "aud": "https://" + servertest.Host, "exp": now + 60, "iat": now, "jti": rand.Text(),
			})},
		})
	}
	start := func() *servertest.Service {
		return servertest.Start(t, servertest.Options{Network: internet.Network(), Edit: func(f *config.File) {
			f.Clients = []registration.Known{{ID: "agent", RedirectURIs: []string{appCallback}, JWKSURI: sets}}
		}})
	}
	internet.Resolve("keys.corp.internal", "10.1.2.3")
	s := start()
	if a := send(s); a.Status != http.StatusBadRequest || a.String("error") != "invalid_grant" { // authenticated, and told of its bad code
		t.Errorf("%d %s %v", a.Status, a.Body, s.Log.Last(audit.TokenRefused))
	}
	a := s.Register(t, servertest.Host, servertest.Metadata{"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://keys.corp.internal:9443/other"})
	if a.Status != http.StatusBadRequest {
		t.Errorf("a stranger names the host: status %d, want %v: %s", a.Status, http.StatusBadRequest, a.Body)
	}
	internet.Resolve("keys.corp.internal", "169.254.169.254")
	if a := send(start()); a.Status != http.StatusInternalServerError || a.String("error") != "server_error" || !strings.Contains(a.Body, "does not connect to") {
		t.Errorf("a metadata server's address: status %d, want %v: %s", a.Status, http.StatusInternalServerError, a.Body)
	}
}
