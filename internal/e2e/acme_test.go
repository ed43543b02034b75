//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"sigs.k8s.io/yaml"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// pebbleVersion is what hack/e2e/install.sh builds.
const pebbleVersion = "2.10.3"

// authority is a test authority that speaks ACME, with the addresses at which it
// looks for whom it issues to.
type authority struct {
	directory, caFile string
	roots             *x509.CertPool
	httpPort, tlsPort string
}

// startPebble runs Let's Encrypt's own small authority. Every name leads to loopback.
func startPebble(t *testing.T) *authority {
	t.Helper()
	binary := program(t, "pebble", cached("pebble-"+pebbleVersion, "pebble"))
	ports := freePorts(t, 4)
	a := &authority{directory: "https://127.0.0.1:" + ports[0] + "/dir", caFile: filepath.Join(t.TempDir(), "pebble.pem"), httpPort: ports[2], tlsPort: ports[3]}
	keyFile := loopbackCertificate(t, a.caFile)
	number := func(port string) int { n, _ := strconv.Atoi(port); return n }
	text, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": "127.0.0.1:" + ports[0], "managementListenAddress": "127.0.0.1:" + ports[1], "certificate": a.caFile, "privateKey": keyFile,
		"httpPort": number(a.httpPort), "tlsPort": number(a.tlsPort),
	}})
	if err != nil {
		t.Fatal(err)
	}
	start(t, "pebble", []string{"PEBBLE_VA_NOSLEEP=1"}, binary, "-config", write(t, "pebble.json", string(text)), "-dnsserver", loopbackDNS(t)).waitTCP(t, "127.0.0.1:"+ports[0])
	own, err := os.ReadFile(a.caFile)
	if err != nil {
		t.Fatal(err)
	}
	itself := x509.NewCertPool()
	itself.AppendCertsFromPEM(own)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: itself}}}
	resp, err := client.Get("https://127.0.0.1:" + ports[1] + "/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	root, err := io.ReadAll(resp.Body)
	if a.roots = x509.NewCertPool(); err != nil || !a.roots.AppendCertsFromPEM(root) {
		t.Fatalf("no root: %v %s", err, root)
	}
	return a
}

// loopbackCertificate makes a certificate for loopback, and returns the file of its key.
func loopbackCertificate(t *testing.T, file string) (keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return write(t, "pebble.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// loopbackDNS answers over TCP, as pebble asks, that every name is 127.0.0.1, and
// returns its address.
func loopbackDNS(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answerDNS(conn)
		}
	}()
	return l.Addr().String()
}

// answerDNS answers the questions of one connection (RFC 1035, section 4.2.2).
func answerDNS(conn net.Conn) {
	defer conn.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		question := make([]byte, binary.BigEndian.Uint16(size[:]))
		var m dnsmessage.Message
		if _, err := io.ReadFull(conn, question); err != nil || m.Unpack(question) != nil || len(m.Questions) != 1 {
			return
		}
		q := m.Questions[0]
		m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
		if q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
		}
		answer, err := m.Pack()
		if err != nil {
			return
		}
		conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
	}
}

// TestOneBinaryOnOneMachine has a person follow the README without a gateway: the
// service gets its certificate from an authority, and serves an MCP server.
func TestOneBinaryOnOneMachine(t *testing.T) {
	track(t)
	for name, port80 := range map[string]bool{"by the protocol listener": false, "by port 80": true} {
		t.Run(name, func(t *testing.T) {
			track(t)
			authority, mcp := startPebble(t), startMCP(t, true)
			mcp.relayed = true
			st := &stack{managementAddress: "127.0.0.1:" + freePorts(t, 1)[0]}
			st.config = readmeWithoutGateway(t, authority, mcp, st.managementAddress, port80)
			st.startService(t, serviceBinary(t))
			client := &http.Client{
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
				Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.roots}, DisableKeepAlives: true, DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
					port := authority.tlsPort
					if strings.HasSuffix(address, ":80") {
						port = authority.httpPort
					}
					return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+port)
				}},
			}
			const mcpURL = "https://mcp.example.com/mcp"
			serial := certified(t, client, mcpURL)
			list := `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`
			var got struct {
				Result struct{ Tools []struct{ Name string } }
			}
			resp, body := ask(t, client, mcpURL, list, "Authorization", "Bearer "+mintedFor(t, mcpURL))
			if data := body[bytes.IndexByte(body, '{'):]; resp.StatusCode != http.StatusOK || json.NewDecoder(bytes.NewReader(data)).Decode(&got) != nil || len(got.Result.Tools) != 3 {
				t.Errorf("a good token: %d %s", resp.StatusCode, body)
			}
			mustEqual(t, "requests that reached the MCP server", len(mcp.requests()), 1)
			if port80 {
				resp, err := client.Get("http://mcp.example.com/authorize?a=b")
				if err != nil || resp.StatusCode != http.StatusPermanentRedirect || resp.Header.Get("Location") != "https://mcp.example.com/authorize?a=b" {
					t.Errorf("port 80: %v %v", resp, err)
				}
			}
			// The certificate is kept over a restart.
			st.service.stop(t)
			st.startService(t, serviceBinary(t))
			if again := certified(t, client, mcpURL); again.Cmp(serial) != 0 {
				t.Error("a restart asks for another certificate")
			}
		})
	}
}

// readmeWithoutGateway is the configuration of the README, with nothing changed
// but addresses, the authority and who signs people in.
func readmeWithoutGateway(t *testing.T, a *authority, mcp *mcpServer, management string, port80 bool) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?ms)^### Or run it without a gateway$.*?^```yaml\n(.*?)^```$").FindSubmatch(text)
	if m == nil {
		t.Fatal("README.md shows no configuration without a gateway")
	}
	var file map[string]any
	if err := yaml.Unmarshal([]byte(substitute(t, string(m[1]),
		`":443"`, `"127.0.0.1:`+a.tlsPort+`"`, `":80"`, `"127.0.0.1:`+a.httpPort+`"`, "http://127.0.0.1:3000/mcp", mcp.URL+"/mcp",
		"/var/lib/mcp-forward-auth/acme", filepath.Join(t.TempDir(), "acme"), "[seed]", "["+write(t, "seed", seedOfTests)+"]")), &file); err != nil {
		t.Fatal(err)
	}
	acme := file["tls"].(map[string]any)["acme"].(map[string]any)
	acme["directoryURL"], acme["caFile"] = a.directory, a.caFile
	if !port80 {
		delete(file["tls"].(map[string]any), "redirect")
	}
	file["listen"].(map[string]any)["management"] = management
	file["provider"] = staticProvider(t)
	out, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "config.yaml", string(out))
}

// certified waits for the certificate, and returns its serial number.
func certified(t *testing.T, client *http.Client, mcpURL string) *big.Int {
	t.Helper()
	for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		resp, err := client.Post(mcpURL, "application/json", strings.NewReader("{}"))
		if err == nil {
			resp.Body.Close()
			mustEqual(t, "status without a token", resp.StatusCode, http.StatusUnauthorized)
			return resp.TLS.PeerCertificates[0].SerialNumber
		}
		if time.Since(began) > 30*time.Second {
			t.Fatal(err)
		}
	}
}

func ask(t *testing.T, client *http.Client, mcpURL, body string, header ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", mcpURL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, text
}

// mintedFor is a token as the service with seedOfTests makes it.
func mintedFor(t *testing.T, mcpURL string) string {
	t.Helper()
	sealing, err := seal.NewKeyring(time.Now, []byte(seedOfTests))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keyset.New(keyset.Options{
		Sources: []keyset.Source{keyset.Seed{Secret: []byte(seedOfTests), Period: time.Hour}}, Period: time.Hour, TokenLifetime: time.Hour, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	issuer := token.Issuer{Keys: keys, Persons: token.NewPersons(sealing), Lifetime: 15 * time.Minute, Now: time.Now}
	raw, _, err := issuer.Mint(token.Claims{
		Issuer: origin(mcpURL), Subject: "static:alice", Audience: mcpURL, ClientID: "client", Scope: scopeRead + " " + scopeWrite,
	}, token.Person{Email: "alice@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
