package authorize_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop/dpoptest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

const parURL = "https://" + servertest.Host + "/par"

// withPushing starts a service where requests can be pushed.
func withPushing(t *testing.T, edits ...func(*config.File)) *servertest.Service {
	t.Helper()
	edits = append(edits, func(f *config.File) {
		f.Pushed.Enabled = true
		f.Proxy.Hosts[0].DPoP = "accepted"
	})
	return servertest.Start(t, servertest.Options{Edit: servertest.Edits(edits...)})
}

// push sends a request to /par.
func push(t *testing.T, s *servertest.Service, params url.Values, header ...string) *servertest.Answer {
	t.Helper()
	return s.Send(t, servertest.Request(t, http.MethodPost, parURL, params.Encode(), append([]string{"Content-Type", "application/x-www-form-urlencoded"}, header...)...))
}

// reference is the URL that the browser is sent to with a request_uri.
func reference(clientID, requestURI string, more ...string) string {
	q := url.Values{"client_id": {clientID}, "request_uri": {requestURI}}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return "https://" + servertest.Host + "/authorize?" + q.Encode()
}

func TestPushedRequest(t *testing.T) {
	t.Parallel()
	s := withPushing(t)
	c := s.NewClient(t, servertest.Host, nil)
	a := c.Begin()
	answer := push(t, s, a.Params)
	uri := answer.String("request_uri")
	if answer.Status != http.StatusCreated || !strings.HasPrefix(uri, "urn:ietf:params:oauth:request_uri:") || answer.JSON["expires_in"] != 60.0 || answer.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("AS-OPT-01 status %d, want %v: %s", answer.Status, http.StatusCreated, answer.Body)
	}
	// What the browser brings beside the reference does not count, and a reload works.
	b := s.NewBrowser()
	for range 2 {
		page := b.Open(t, reference(c.ID, uri, "state", "another", "redirect_uri", "https://evil.example/cb", "scope", "notes:write"))
		servertest.CheckPage(t, page)
		if page.Status != 200 || !strings.Contains(page.Text(), "Test client") {
			t.Fatalf("%d %s", page.Status, page.Text())
		}
	}
	code := a.Accept(t, b.Walk(t, b.Consent(t, reference(c.ID, uri)), servertest.RedirectURI))
	if got := a.Exchange(t, code); got.Status != 200 {
		t.Errorf("AS-OPT-01 status %d, want 200: %s", got.Status, got.Body)
	}
}

func TestPushedRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := withPushing(t, servertest.SecondHost)
	c, other := s.NewClient(t, servertest.Host, nil), s.NewClient(t, servertest.Host, servertest.Metadata{"client_name": "Another"})
	confidential := s.NewClient(t, servertest.Host, servertest.Metadata{"token_endpoint_auth_method": "client_secret_post"})
	with := func(c *servertest.Client, more ...string) url.Values {
		params := c.Begin().Params
		for i := 0; i+1 < len(more); i += 2 {
			params.Set(more[i], more[i+1])
		}
		return params
	}
	for name, tt := range map[string]struct {
		params url.Values
		status int
		code   string
	}{
		"a request_uri":      {with(c, "request_uri", "urn:ietf:params:oauth:request_uri:x"), 400, "invalid_request"},
		"a request object":   {with(c, "request", "a.b.c"), 400, "request_not_supported"},
		"no PKCE":            {with(c, "code_challenge", ""), 400, "invalid_request"},
		"plain PKCE":         {with(c, "code_challenge_method", "plain"), 400, "invalid_request"},
		"another redirect":   {with(c, "redirect_uri", "https://evil.example/cb"), 400, "invalid_request"},
		"another resource":   {with(c, "resource", "https://other.example/mcp"), 400, "invalid_target"},
		"another response":   {with(c, "response_type", "token"), 400, "unsupported_response_type"},
		"no client":          {with(c, "client_id", ""), 401, "invalid_client"},
		"an unknown client":  {with(c, "client_id", "no-such-client"), 401, "invalid_client"},
		"no secret":          {with(confidential), 401, "invalid_client"},
		"the wrong secret":   {with(confidential, "client_secret", "wrong"), 401, "invalid_client"},
		"longer than a URL":  {with(c, "state", strings.Repeat("s", 4000), "foo", randomText(9000)), 400, "invalid_request"},
		"a dpop_jkt of text": {with(c, "dpop_jkt", "short"), 400, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			a := push(t, s, tt.params)
			if a.Status != tt.status || a.String("error") != tt.code || a.JSON["request_uri"] != nil {
				t.Errorf("status %d, want %v: %s", a.Status, tt.status, a.Body)
			}
		})
	}
	if a := push(t, s, with(confidential, "client_secret", confidential.Secret)); a.Status != 201 {
		t.Errorf("with its secret: status %d, want 201: %s", a.Status, a.Body)
	}
	uri := push(t, s, with(c)).String("request_uri")
	for name, address := range map[string]string{
		"another client": reference(other.ID, uri), "no client": reference("", uri), "cut": reference(c.ID, uri[:len(uri)-3]),
		"another host": strings.Replace(reference(c.ID, uri), servertest.Host, "other.example.com", 1),
		"twice":        reference(c.ID, uri) + "&request_uri=" + url.QueryEscape(uri),
	} {
		if page := s.NewBrowser().Open(t, address); page.Status < 400 {
			t.Errorf("%s: %d %s", name, page.Status, page.Location())
		}
	}
	s.Clock.Advance(61 * time.Second)
	page := s.NewBrowser().Open(t, reference(c.ID, uri))
	if page.Status < 400 || s.Log.Last(audit.AuthorizeRefused)["reason"] != "pushed_request_invalid" {
		t.Errorf("an expired one: %d, %v", page.Status, s.Log.Last(audit.AuthorizeRefused))
	}
}

// randomText cannot be compressed.
func randomText(n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(dpoptest.New("EdDSA").Thumbprint())
	}
	return b.String()
}

func TestPushedRequestBindsTheCode(t *testing.T) {
	t.Parallel()
	s := withPushing(t)
	c, k, other := s.NewClient(t, servertest.Host, nil), dpoptest.New("ES256"), dpoptest.New("ES256")
	k.Now, other.Now = s.Clock.Now, s.Clock.Now
	a := c.Begin()
	a.With("dpop_jkt", other.Thumbprint())
	if got := push(t, s, a.Params, "DPoP", k.Proof("POST", parURL)); got.Status != 400 || got.String("error") != "invalid_dpop_proof" {
		t.Errorf("two keys: status %d, want 400: %s", got.Status, got.Body)
	}
	if got := push(t, s, a.Params, "DPoP", k.Proof("POST", "https://"+servertest.Host+"/token")); got.Status != 400 || got.String("error") != "invalid_dpop_proof" {
		t.Errorf("a proof for /token: status %d, want 400: %s", got.Status, got.Body)
	}
	a.Params.Del("dpop_jkt")
	uri := push(t, s, a.Params, "DPoP", k.Proof("POST", parURL)).String("request_uri")
	b := s.NewBrowser()
	form := a.TokenForm(a.Accept(t, b.Walk(t, b.Consent(t, reference(c.ID, uri)), servertest.RedirectURI)))
	exchange := func(k *dpoptest.Key) *servertest.Answer {
		return s.Send(t, servertest.Request(t, http.MethodPost, "https://"+servertest.Host+"/token", form.Encode(),
			"Content-Type", "application/x-www-form-urlencoded", "DPoP", k.Proof("POST", "https://"+servertest.Host+"/token")))
	}
	if got := exchange(other); got.Status != 400 || got.String("error") != "invalid_grant" {
		t.Errorf("AS-DPOP-04 another key: status %d, want 400: %s", got.Status, got.Body)
	}
	if got := exchange(k); got.Status != 200 || got.String("token_type") != "DPoP" {
		t.Errorf("AS-DPOP-04 status %d, want 200: %s", got.Status, got.Body)
	}
}

// The operator or the client may want no other requests.
func TestPushedRequestsOnly(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		edit     func(*config.File)
		metadata servertest.Metadata
	}{
		"of all clients":    {func(f *config.File) { f.Pushed.Required = true }, nil},
		"as the client has": {func(*config.File) {}, servertest.Metadata{"require_pushed_authorization_requests": true}},
	} {
		t.Run(name, func(t *testing.T) {
			s := withPushing(t, tt.edit)
			c := s.NewClient(t, servertest.Host, tt.metadata)
			if tt.metadata != nil && c.Registration.JSON["require_pushed_authorization_requests"] != true {
				t.Errorf("the registration does not say so: %s", c.Registration.Body)
			}
			page := s.NewBrowser().Open(t, c.Begin().URL())
			if strings.Contains(page.Text(), "notes:read") || s.Log.Last(audit.AuthorizeRefused)["reason"] != "pushed_request_missing" {
				t.Errorf("%d %v", page.Status, s.Log.Last(audit.AuthorizeRefused))
			}
			a := c.Begin()
			if page := s.NewBrowser().Open(t, reference(c.ID, push(t, s, a.Params).String("request_uri"))); page.Status != 200 {
				t.Errorf("status %d, want 200: %s", page.Status, page.Text())
			}
			doc := s.Get(t, "https://"+servertest.Host+"/.well-known/oauth-authorization-server")
			if required := doc.JSON["require_pushed_authorization_requests"] == true; doc.String("pushed_authorization_request_endpoint") != parURL || required != (tt.metadata == nil) {
				t.Errorf("AS-OPT-01 %s", doc.Body)
			}
		})
	}
}

func TestPushingIsOff(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, servertest.Options{})
	c := s.NewClient(t, servertest.Host, servertest.Metadata{"require_pushed_authorization_requests": true})
	if a := push(t, s, c.Begin().Params); a.Status != http.StatusNotFound {
		t.Errorf("AS-OPT-01 status %d, want %v: %s", a.Status, http.StatusNotFound, a.Body)
	}
	if doc := s.Get(t, "https://"+servertest.Host+"/.well-known/oauth-authorization-server"); doc.JSON["pushed_authorization_request_endpoint"] != nil {
		t.Errorf("AS-OPT-01 %s", doc.Body)
	}
	if page := s.NewBrowser().Open(t, c.Begin().URL()); page.Status != 200 {
		t.Errorf("a client that would push: status %d, want 200: %s", page.Status, page.Text())
	}
}
