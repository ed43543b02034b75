package servertest

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauth"
)

// RedirectURI is the default client's.
const RedirectURI = "https://app.example.org/callback"

// Answer is an answer with a JSON body, or none.
type Answer struct {
	Status int
	Header http.Header
	Body   string
	JSON   map[string]any
}

// String returns a member of the body that is a string, else "".
func (a *Answer) String(member string) string {
	s, _ := a.JSON[member].(string)
	return s
}

// Send sends req to the service.
func (s *Service) Send(t testing.TB, req *http.Request) *Answer {
	t.Helper()
	a, err := s.TrySend(req)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TrySend is Send for other goroutines than the test's.
func (s *Service) TrySend(req *http.Request) (*Answer, error) {
	resp, err := s.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return nil, err
	}
	a := &Answer{Status: resp.StatusCode, Header: resp.Header, Body: string(body)}
	_ = json.Unmarshal(body, &a.JSON) // an answer without JSON has none
	return a, nil
}

// Get gets a public URL.
func (s *Service) Get(t testing.TB, address string) *Answer {
	t.Helper()
	return s.Send(t, Request(t, http.MethodGet, address, ""))
}

// Request makes a request; header is name, value, name, value.
func Request(t testing.TB, method, address, body string, header ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return req
}

// Metadata is a registration of RFC 7591. A nil value leaves a member out.
type Metadata map[string]any

// Client is an MCP client with a registration at one host.
type Client struct {
	Service *Service
	Host    string
	// Registration is the answer of the registration endpoint.
	Registration *Answer
	ID, Secret   string
	RedirectURI  string
	// Resource is what it asks for; "" leaves the parameter out.
	Resource string
	// Scope is what it asks for; "" leaves the parameter out.
	Scope string
}

// Register sends a registration: the default's members, replaced by those of m.
func (s *Service) Register(t testing.TB, host string, m Metadata) *Answer {
	t.Helper()
	body := Metadata{"client_name": "Test client", "redirect_uris": []string{RedirectURI}, "token_endpoint_auth_method": "none"}
	maps.Copy(body, m)
	maps.DeleteFunc(body, func(_ string, v any) bool { return v == nil })
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return s.Send(t, Request(t, http.MethodPost, Issuer(host)+"/register", string(text), "Content-Type", "application/json"))
}

// NewClient registers a client at a host and has it ask for that host's /mcp.
func (s *Service) NewClient(t testing.TB, host string, m Metadata) *Client {
	t.Helper()
	a := s.Register(t, host, m)
	if a.Status != http.StatusCreated {
		t.Fatalf("registration: %d %s", a.Status, a.Body)
	}
	c := &Client{Service: s, Host: host, Registration: a, ID: a.String("client_id"), Secret: a.String("client_secret"), Resource: Issuer(host) + "/mcp"}
	if uris, _ := a.JSON["redirect_uris"].([]any); len(uris) > 0 {
		c.RedirectURI, _ = uris[0].(string)
	}
	return c
}

// On returns the same client when its requests reach another replica.
func (c *Client) On(s *Service) *Client {
	other := *c
	other.Service = s
	return &other
}

// Attempt is one authorization request.
type Attempt struct {
	Client *Client
	// Params are those of the request; change them before URL.
	Params   url.Values
	Verifier string
}

// Begin makes a correct authorization request with a fresh verifier and state.
func (c *Client) Begin() *Attempt {
	a := &Attempt{Client: c, Verifier: rand.Text() + rand.Text()}
	a.Params = url.Values{
		"response_type": {"code"}, "client_id": {c.ID}, "redirect_uri": {c.RedirectURI}, "state": {"state-" + rand.Text()},
		"code_challenge": {oauth.S256(a.Verifier)}, "code_challenge_method": {"S256"},
	}
	if c.Resource != "" {
		a.Params.Set("resource", c.Resource)
	}
	if c.Scope != "" {
		a.Params.Set("scope", c.Scope)
	}
	return a
}

// With sets a parameter, or takes it away if there is no value, and returns a.
func (a *Attempt) With(name string, values ...string) *Attempt {
	if delete(a.Params, name); len(values) > 0 {
		a.Params[name] = values
	}
	return a
}

// URL is what the client opens in the browser.
func (a *Attempt) URL() string { return Issuer(a.Client.Host) + "/authorize?" + a.Params.Encode() }

// State is the state parameter.
func (a *Attempt) State() string { return a.Params.Get("state") }

// Code walks the browser to the end and returns the code. The response is held
// to state and iss (RFC 9207).
func (a *Attempt) Code(t testing.TB, b *Browser) string {
	t.Helper()
	return a.Accept(t, b.Walk(t, b.Open(t, a.URL()), a.Params.Get("redirect_uri")))
}

// Accept checks an authorization response and returns its code.
func (a *Attempt) Accept(t testing.TB, at *url.URL) string {
	t.Helper()
	q := at.Query()
	if len(q["state"]) != len(a.Params["state"]) || q.Get("state") != a.State() {
		t.Fatalf("state of the response is %q, want %q", q["state"], a.State())
	}
	if len(q["iss"]) != 1 || q.Get("iss") != Issuer(a.Client.Host) {
		t.Fatalf("iss of the response is %q", q["iss"])
	}
	if len(q["code"]) != 1 || q.Get("code") == "" || q.Has("error") {
		t.Fatalf("no code in the response: %v", q)
	}
	return q.Get("code")
}

// TokenForm is the form of a correct token request.
func (a *Attempt) TokenForm(code string) url.Values {
	c := a.Client
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {a.Verifier},
		"client_id": {c.ID}, "redirect_uri": {a.Params.Get("redirect_uri")},
	}
	if c.Secret != "" {
		form.Set("client_secret", c.Secret)
	}
	if c.Resource != "" {
		form.Set("resource", c.Resource)
	}
	return form
}

// Exchange redeems a code.
func (a *Attempt) Exchange(t testing.TB, code string) *Answer {
	t.Helper()
	return a.Client.Token(t, a.TokenForm(code))
}

// Token sends a form to the token endpoint.
func (c *Client) Token(t testing.TB, form url.Values) *Answer {
	t.Helper()
	return c.Service.Send(t, Request(t, http.MethodPost, Issuer(c.Host)+"/token", form.Encode(), "Content-Type", "application/x-www-form-urlencoded"))
}

// AccessToken goes the whole way, with b in front of the pages.
func (c *Client) AccessToken(t testing.TB, b *Browser) string {
	t.Helper()
	a := c.Begin()
	answer := a.Exchange(t, a.Code(t, b))
	token := answer.String("access_token")
	if answer.Status != http.StatusOK || token == "" {
		t.Fatalf("token: %d %s", answer.Status, answer.Body)
	}
	return token
}

// Ask asks the gateway's question in the dialect of nginx: may a request to
// address with this token pass? An empty token sends none. header is name,
// value, name, value.
func (s *Service) Ask(t testing.TB, address, token string, header ...string) *Answer {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	req := Request(t, http.MethodGet, "https://"+u.Host+"/authenticate", "", header...)
	req.Header.Set("X-Original-URL", address)
	req.Header.Set("X-Original-Method", http.MethodPost)
	if token != "" {
		req.Header.Add("Authorization", "Bearer "+token)
	}
	return s.Send(t, req)
}

// MustPass is Ask where the answer has to be yes.
func (s *Service) MustPass(t testing.TB, address, token string) *Answer {
	t.Helper()
	a := s.Ask(t, address, token)
	if a.Status != http.StatusOK || a.Body != "" {
		t.Fatalf("%s: %d %q %s", address, a.Status, a.Header.Get("WWW-Authenticate"), a.Body)
	}
	return a
}

// MustNotPass is Ask where the answer has to be a challenge with this error code.
func (s *Service) MustNotPass(t testing.TB, address, token, code string) *Answer {
	t.Helper()
	a := s.Ask(t, address, token)
	challenges := a.Header.Values("WWW-Authenticate")
	if a.Status != http.StatusUnauthorized || len(challenges) != 1 || !strings.Contains(challenges[0], `error="`+code+`"`) {
		t.Errorf("answer is %d %q %s, want 401 with %s", a.Status, challenges, bytes.TrimSpace([]byte(a.Body)), code)
	}
	return a
}
