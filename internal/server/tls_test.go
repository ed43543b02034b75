package server_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/server"
)

// run is a service with the configuration in dir, and its protocol and redirect listeners.
func run(t *testing.T, dir, text string) (protocol, redirect string) {
	t.Helper()
	name := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(cfg, server.Options{Logger: slog.New(slog.DiscardHandler), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	var l [3]net.Listener
	for i := range l {
		if l[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	listeners := server.Listeners{Protocol: l[0], Management: l[1]}
	if cfg.TLS.Redirect != "" {
		listeners.Redirect = l[2]
	} else {
		l[2].Close()
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, listeners) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l[0].Addr().String(), l[2].Addr().String()
}

// The service ends TLS itself, with HTTP/1.1 and HTTP/2, and sends browsers there.
func TestTLSListener(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	issued := httptest.NewTLSServer(nil) // its certificate names example.com
	defer issued.Close()
	roots := x509.NewCertPool()
	roots.AddCert(issued.Certificate())
	writePair(t, dir, issued.TLS.Certificates[0])
	protocol, redirect := run(t, dir, `
provider: {name: static, users: [{username: a, passwordHash: "$2a$12$NWixWItEFWBe.fUFGG/yYukXR3gOBRhKEaqCUj39Zm9FkkV7b/kdW"}]}
proxy: {hosts: [{host: example.com, endpoint: "http://127.0.0.1:1/mcp", serve: {enabled: true}}]}
tls: {certificates: [{certFile: tls.crt, keyFile: tls.key}], redirect: "127.0.0.1:0"}
`)
	for _, h2 := range []bool{false, true} {
		client := &http.Client{Transport: &http.Transport{
			ForceAttemptHTTP2: h2, TLSClientConfig: &tls.Config{RootCAs: roots},
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", protocol)
			},
		}}
		resp, err := client.Post("https://example.com/mcp", "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 401 || (resp.ProtoMajor == 2) != h2 || !strings.Contains(resp.Header.Get("WWW-Authenticate"), "https://example.com/.well-known/oauth-protected-resource/mcp") {
			t.Errorf("%s %d %v", resp.Proto, resp.StatusCode, resp.Header)
		}
		client.CloseIdleConnections()
	}
	plain := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", redirect)
		}},
	}
	resp, err := plain.Get("http://example.com/authorize?a=b")
	if err != nil || resp.StatusCode != 308 || resp.Header.Get("Location") != "https://example.com/authorize?a=b" {
		t.Errorf("%v %v", resp, err)
	}
}

// A gateway may speak HTTP/2 without TLS where the configuration says so, and not elsewhere.
func TestH2C(t *testing.T) {
	t.Parallel()
	for _, h2c := range []bool{true, false} {
		protocol, _ := run(t, t.TempDir(), fmt.Sprintf(`
listen: {h2c: %v}
provider: {name: static, users: [{username: a, passwordHash: "$2a$12$NWixWItEFWBe.fUFGG/yYukXR3gOBRhKEaqCUj39Zm9FkkV7b/kdW"}]}
proxy: {hosts: [{host: example.com, endpoint: "http://127.0.0.1:1/mcp"}]}
`, h2c))
		client := &http.Client{Transport: &http.Transport{
			Protocols: new(http.Protocols),
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", protocol)
			},
		}}
		client.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true)
		resp, err := client.Get("http://example.com/.well-known/oauth-authorization-server")
		if h2c != (err == nil && resp.ProtoMajor == 2 && resp.StatusCode == 200) {
			t.Errorf("h2c %v: %v %v", h2c, resp, err)
		}
		if err == nil {
			resp.Body.Close()
		}
		client.CloseIdleConnections()
	}
}

func writePair(t *testing.T, dir string, pair tls.Certificate) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, "tls.key": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
