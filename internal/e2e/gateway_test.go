//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestGateway asks nginx what a client would ask, well or ill meant.
func TestGateway(t *testing.T) {
	st := newStack(t, setup{provider: "static"})
	g, _ := signIn(t, st.statelessURL, alice)
	sub := func(name string, f func(t *testing.T)) {
		t.Run(name, func(t *testing.T) {
			track(t)
			st.stateless.requests()
			f(t)
		})
	}
	untouched := func(t *testing.T) {
		t.Helper()
		mustEqual(t, "requests that reached the MCP server", len(st.stateless.requests()), 0)
	}

	sub("no token", func(t *testing.T) {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"} {
			resp, _ := do(t, method, st.statelessURL, nil)
			mustEqual(t, method+" status", resp.StatusCode, http.StatusUnauthorized)
			challenge := oneChallenge(t, resp)
			if !strings.Contains(challenge, `resource_metadata="`+origin(st.statelessURL)+`/.well-known/oauth-protected-resource/mcp"`) {
				t.Errorf("%s: challenge without resource_metadata: %s", method, challenge)
			}
			if strings.Contains(challenge, "error=") {
				t.Errorf("%s: an error code although nothing was wrong (RFC 6750, section 3.1): %s", method, challenge)
			}
		}
		untouched(t)
	})
	// A browser sends no token with a preflight (Fetch, section 3.3). The method
	// comes from X-Original-Method, which nginx sets; "spoofed headers" below
	// has a client that pretends.
	sub("preflight", func(t *testing.T) {
		resp, _ := do(t, "OPTIONS", st.statelessURL, nil, "Origin", "https://inspector.example",
			"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type")
		seen := st.stateless.requests()
		if len(seen) != 1 || seen[0].Method != http.MethodOptions {
			t.Errorf("answered %s, and %d requests reached the MCP server", resp.Status, len(seen))
		}
	})
	sub("bad token", func(t *testing.T) {
		for name, value := range map[string]string{
			"garbage":            "Bearer not-a-token",
			"changed signature":  "Bearer " + g.AccessToken[:len(g.AccessToken)-6] + "AAAAAA",
			"alg none":           "Bearer eyJhbGciOiJub25lIn0." + strings.Split(g.AccessToken, ".")[1] + ".",
			"empty":              "Bearer ",
			"two in one":         "Bearer " + g.AccessToken + ", Bearer " + g.AccessToken,
			"the wrong spelling": "Bearer " + g.AccessToken + "=",
		} {
			resp, _ := do(t, "POST", st.statelessURL, nil, "Authorization", value)
			mustEqual(t, name+" status", resp.StatusCode, http.StatusUnauthorized)
			challenge := oneChallenge(t, resp)
			if name != "empty" && !strings.Contains(challenge, `error="invalid_token"`) && !strings.Contains(challenge, `error="invalid_request"`) {
				t.Errorf("%s: challenge %s", name, challenge)
			}
			if !strings.Contains(challenge, "resource_metadata=") {
				t.Errorf("%s: challenge without resource_metadata: %s", name, challenge)
			}
		}
		untouched(t)
	})
	sub("token of another host", func(t *testing.T) {
		other, _ := signIn(t, st.statefulURL, alice)
		st.stateless.requests()
		resp, _ := do(t, "POST", st.statelessURL, nil, bearer(other)...)
		mustEqual(t, "status", resp.StatusCode, http.StatusUnauthorized)
		if c := oneChallenge(t, resp); !strings.Contains(c, `error="invalid_token"`) {
			t.Errorf("challenge %s", c)
		}
		untouched(t)
	})
	sub("spoofed headers", func(t *testing.T) {
		spoofed := append(bearer(g), "X-Auth-Request-User", "mallory", "X-Auth-Request-Email", "root@example.com",
			"X-Auth-Request-Groups", "root", "x_auth_request_user", "mallory",
			"X-Original-URL", "http://localhost:"+st.port+"/mcp", "X-Original-Method", "OPTIONS",
			"X-Forwarded-Host", "localhost:"+st.port, "X-Forwarded-Uri", "/.well-known/x", "X-Forwarded-Method", "OPTIONS")
		resp, text := do(t, "POST", st.statelessURL+"/probe/echo", nil, spoofed...)
		mustEqual(t, "status", resp.StatusCode, http.StatusOK)
		var got struct{ Identity identity }
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		wantAlice(t, got.Identity)
		if strings.Contains(got.Identity.User, "mallory") {
			t.Error("the client named itself")
		}
		st.stateless.requests()
		resp, _ = do(t, "POST", st.statelessURL+"/probe/echo", nil, spoofed[2:]...)
		mustEqual(t, "status without a token", resp.StatusCode, http.StatusUnauthorized)
		untouched(t)
	})
	sub("identity headers are one line each", func(t *testing.T) {
		resp, _ := do(t, "GET", st.statelessURL+"/probe/echo", nil, bearer(g)...)
		mustEqual(t, "status", resp.StatusCode, http.StatusOK)
		seen := st.stateless.requests()[0].Header
		for _, name := range identityHeaders {
			mustEqual(t, "number of "+name, len(seen.Values(name)), 1)
		}
	})
	sub("events pass unbuffered", func(t *testing.T) { unbuffered(t, st.statelessURL, g) })
	sub("a megabyte passes", func(t *testing.T) {
		const size = 1 << 20
		resp, text := do(t, "POST", st.statelessURL+"/probe/echo", bytes.NewReader(make([]byte, size)), bearer(g)...)
		mustEqual(t, "status", resp.StatusCode, http.StatusOK)
		var got struct{ Bytes int }
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		mustEqual(t, "bytes that arrived", got.Bytes, size)
		// Without a token the body is not wanted, and nothing may wait for it.
		resp, _ = do(t, "POST", st.statelessURL+"/probe/echo", bytes.NewReader(make([]byte, size)))
		mustEqual(t, "status without a token", resp.StatusCode, http.StatusUnauthorized)
	})
	sub("odd paths", func(t *testing.T) {
		for _, path := range []string{"//mcp", "/x/../mcp", "/%6dcp", "/mcp/%2e%2e/mcp", "/mcp/..;/x", "/mcp%2f..%2fx", "/mcp/./probe/echo"} {
			resp, err := rawGet(t, st.port, path)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode < 400 {
				t.Errorf("%s without a token answered %s", path, resp.Status)
			}
		}
		untouched(t)
	})
	sub("the internal location is not public", func(t *testing.T) {
		resp, _ := do(t, "GET", origin(st.statelessURL)+nginxRoute{Path: "/mcp"}.AuthLocation(), nil, bearer(g)...)
		mustEqual(t, "status", resp.StatusCode, http.StatusNotFound)
	})
	sub("management is on its own listener", func(t *testing.T) {
		for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
			resp, _ := do(t, "GET", "http://"+st.managementAddress+path, nil)
			mustEqual(t, "management "+path, resp.StatusCode, http.StatusOK)
			resp, _ = do(t, "GET", "http://"+st.serviceAddress+path, nil, "Host", "127.0.0.1:"+st.port)
			if resp.StatusCode < 400 {
				t.Errorf("%s on the protocol listener answered %s", path, resp.Status)
			}
		}
	})
	// Last, because it takes the service away.
	sub("service down", func(t *testing.T) {
		st.service.stop(t)
		for _, header := range [][]string{nil, bearer(g)} {
			resp, _ := do(t, "POST", st.statelessURL, nil, header...)
			if resp.StatusCode < 500 {
				t.Errorf("status is %s, want a refusal", resp.Status)
			}
		}
		untouched(t)
	})
}

// oneChallenge returns the only WWW-Authenticate line.
func oneChallenge(t *testing.T, resp *http.Response) string {
	t.Helper()
	lines := resp.Header.Values("WWW-Authenticate")
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "Bearer") {
		t.Errorf("WWW-Authenticate is %q, want one Bearer challenge", lines)
		return strings.Join(lines, "")
	}
	return lines[0]
}

// unbuffered reads slow events and measures when each one arrives.
func unbuffered(t *testing.T, mcpURL string, g grant) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", mcpURL+"/probe/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.AccessToken)
	resp, err := browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	mustEqual(t, "status", resp.StatusCode, http.StatusOK)
	var arrived []time.Time
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "data:") {
			arrived = append(arrived, time.Now())
		}
	}
	if len(arrived) != eventCount {
		t.Fatalf("%d events arrived, want %d", len(arrived), eventCount)
	}
	// Buffered, they would all come together at the end.
	if spread := arrived[eventCount-1].Sub(arrived[0]); spread < eventPause*(eventCount-1)/2 {
		t.Errorf("all events came within %v", spread)
	}
}

// rawGet sends a path exactly as written, which net/url would tidy.
func rawGet(t *testing.T, port, path string) (*http.Response, error) {
	t.Helper()
	return rawRequest(t, port, "GET "+path+" HTTP/1.1\r\nHost: 127.0.0.1:"+port+"\r\nConnection: close\r\n\r\n")
}

// rawRequest sends request as it is written.
func rawRequest(t *testing.T, port, request string) (*http.Response, error) {
	t.Helper()
	conn, err := dial(t, "127.0.0.1:"+port)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, err
	}
	return http.ReadResponse(bufio.NewReader(conn), nil)
}

// TestIngressHostHeader is ingress-nginx with the service's own name in
// auth-url: the Host of the sub-request then says nothing about the resource,
// and X-Original-URL, which ingress-nginx sets itself, has to.
func TestIngressHostHeader(t *testing.T) {
	for name, host := range map[string]string{"variable without port": "$host", "service name": "mcp-forward-auth.auth.svc.cluster.local"} {
		t.Run(name, func(t *testing.T) {
			track(t)
			st := newStack(t, setup{provider: "static", authHost: host})
			resp, _ := do(t, "POST", st.statelessURL, nil)
			mustEqual(t, "status without a token", resp.StatusCode, http.StatusUnauthorized)
			if c := oneChallenge(t, resp); !strings.Contains(c, origin(st.statelessURL)) {
				t.Errorf("challenge %s", c)
			}
			g, _ := signIn(t, st.statelessURL, alice)
			resp, _ = callTool(t, st.statelessURL, "whoami", g)
			mustEqual(t, "status", resp.StatusCode, http.StatusOK)
			resp, _ = callTool(t, st.statefulURL, "whoami", g)
			mustEqual(t, "status at the other host", resp.StatusCode, http.StatusUnauthorized)
			// nginx routes by the host of the request line and tells that of the Host header.
			st.stateful.requests()
			resp, err := rawRequest(t, st.port, "POST "+st.statefulURL+" HTTP/1.1\r\nHost: 127.0.0.1:"+st.port+
				"\r\nAuthorization: Bearer "+g.AccessToken+"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			if err != nil {
				t.Fatal(err)
			}
			mustEqual(t, "status of a request with two hosts", resp.StatusCode, http.StatusForbidden)
			if n := len(st.stateful.requests()); n != 0 {
				t.Errorf("%d requests reached the MCP server of another host", n)
			}
		})
	}
}

// TestDiscovery reads the documents as a client in a web page would.
func TestDiscovery(t *testing.T) {
	st := newStack(t, setup{provider: "static"})
	st.both(t, func(t *testing.T, mcpURL string) {
		issuer := origin(mcpURL)
		document := func(path string) map[string]any {
			t.Helper()
			resp, text := do(t, "GET", issuer+path, nil, "Origin", "https://inspector.example")
			mustEqual(t, path+" status", resp.StatusCode, http.StatusOK)
			mustEqual(t, path+" Access-Control-Allow-Origin", resp.Header.Get("Access-Control-Allow-Origin"), "*")
			var doc map[string]any
			if err := json.Unmarshal(text, &doc); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			return doc
		}
		// Each document names the URL it was derived from (RFC 9728, section 3.3).
		for path, resource := range map[string]string{"": issuer, "/mcp": mcpURL} {
			doc := document("/.well-known/oauth-protected-resource" + path)
			mustEqual(t, "resource", doc["resource"].(string), resource)
			servers := doc["authorization_servers"].([]any)
			mustEqual(t, "authorization_servers[0]", servers[0].(string), issuer)
		}
		for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
			doc := document(path)
			mustEqual(t, path+" issuer", doc["issuer"].(string), issuer)
			for _, endpoint := range []string{"authorization_endpoint", "token_endpoint", "registration_endpoint", "jwks_uri"} {
				if url, _ := doc[endpoint].(string); !strings.HasPrefix(url, issuer+"/") {
					t.Errorf("%s: %s is %q", path, endpoint, url)
				}
			}
			grants := fmt.Sprint(doc["grant_types_supported"])
			mustEqual(t, path+" offers refresh_token", strings.Contains(grants, "refresh_token"), true)
			mustEqual(t, "authorization_response_iss_parameter_supported", doc["authorization_response_iss_parameter_supported"].(bool), true)
		}
		if keys := document("/openid/v1/jwks")["keys"].([]any); len(keys) == 0 {
			t.Error("no keys")
		}
	})
}
