package server_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/gatewatch"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// handled answers requests by a handler in place of the network.
type handled struct{ h http.Handler }

func (h handled) RoundTrip(req *http.Request) (*http.Response, error) {
	r := req.Clone(req.Context())
	r.RequestURI = req.URL.RequestURI()
	w := httptest.NewRecorder()
	h.h.ServeHTTP(w, r)
	return w.Result(), nil
}

// watched is a service that watches its gates, all of which h answers for.
func watched(t *testing.T, h func(s *servertest.Service) http.Handler) *servertest.Service {
	t.Helper()
	var s *servertest.Service
	started := make(chan struct{})
	s = servertest.Start(t, servertest.Options{
		Gateways: handled{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-started
			h(s).ServeHTTP(w, r)
		})},
		Edit: func(f *config.File) { f.GateWatch.Enabled, f.GateWatch.Interval = true, 10*time.Second },
	})
	close(started)
	return s
}

// tells waits until the metric has this state.
func tells(t *testing.T, s *servertest.Service, state string) (readyz string) {
	t.Helper()
	want := `mcp_forward_auth_gate_state{resource="https://mcp.example.com/mcp",state="` + state + `"} 1`
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if _, metrics := s.Management(t, "/metrics"); strings.Contains(metrics, want) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the metric never says %s", state)
		}
	}
	status, body := s.Management(t, "/readyz")
	if status != http.StatusOK {
		t.Errorf("not ready: %d %s", status, body)
	}
	return body
}

// gatewayTo is a gateway that asks the service at one address and passes
// requests on to the MCP server at another.
func gatewayTo(t *testing.T, service, server string) http.Handler {
	t.Helper()
	var urls [2]*url.URL
	for i, each := range []string{service, server} {
		u, err := url.Parse(each)
		if err != nil {
			t.Fatal(err)
		}
		urls[i] = u
	}
	return servertest.NewGateway(urls[0], urls[1], nil)
}

func TestGateWatch(t *testing.T) {
	t.Run("a gateway that asks", func(t *testing.T) {
		t.Parallel()
		s := watched(t, func(s *servertest.Service) http.Handler { return gatewayTo(t, "http://"+s.Address(), s.MCPServer) })
		if body := tells(t, s, "closed"); !strings.Contains(body, `"ready"`) {
			t.Error(body)
		}
		if !strings.Contains(s.Log.String(), "the gate is closed") {
			t.Error("the log does not say so")
		}
		for line := range strings.Lines(s.Log.String()) {
			if strings.Contains(line, "access.denied") && strings.Contains(line, `"level":"INFO"`) {
				t.Errorf("the audit log has %s", line)
			}
		}
		// A request that says to be the gate watch, and has another token, is told of.
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Address()+"/authenticate/forwarded", nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{
			"Mcp-Name": gatewatch.Mark, "Authorization": "Bearer " + gatewatch.WrongToken + "x",
			"X-Forwarded-Method": "POST", "X-Forwarded-Proto": "https", "X-Forwarded-Host": servertest.Host, "X-Forwarded-Uri": "/mcp",
		} {
			req.Header.Set(name, value)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if !strings.Contains(s.Log.String(), `"level":"INFO","msg":"audit","audit":{"schema":"1","event":"access.denied","reason":"malformed_token"`) {
			t.Errorf("%s, and the log has no entry", resp.Status)
		}
	})
	t.Run("an open gate is told, and the service stays ready", func(t *testing.T) {
		t.Parallel()
		s := watched(t, func(s *servertest.Service) http.Handler {
			to, err := url.Parse(s.MCPServer)
			if err != nil {
				t.Error(err)
			}
			return httputil.NewSingleHostReverseProxy(to)
		})
		if body := tells(t, s, "open"); !strings.Contains(body, `"degraded"`) || !strings.Contains(body, "gate of https://mcp.example.com/mcp open: POST /mcp") {
			t.Error(body)
		}
	})
	t.Run("a gateway that asks something else", func(t *testing.T) {
		t.Parallel()
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Basic realm="staff"`)
			w.WriteHeader(http.StatusUnauthorized)
		}))
		t.Cleanup(other.Close)
		s := watched(t, func(s *servertest.Service) http.Handler { return gatewayTo(t, other.URL, s.MCPServer) })
		tells(t, s, "foreign")
	})
	t.Run("off by default", func(t *testing.T) {
		t.Parallel()
		s := servertest.Start(t, servertest.Options{Gateways: handled{http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a gateway is asked") })}})
		if _, metrics := s.Management(t, "/metrics"); strings.Contains(metrics, "gate_state{") {
			t.Error("there is a state of a gate that is not watched")
		}
	})
}
