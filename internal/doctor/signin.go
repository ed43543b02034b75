package doctor

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	ours "github.com/mcp-forward-auth/mcp-forward-auth/internal/page"
)

// callback listens on loopback for the browser to come back (RFC 8252, section 7.3).
type callback struct {
	url    string
	server *http.Server
	got    chan url.Values
}

func (w *walk) listen() error {
	if w.callback != nil {
		return nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c := &callback{url: "http://" + l.Addr().String() + "/callback", got: make(chan url.Values, 1)}
	pages, mux := ours.New(ours.Brand{}), http.NewServeMux()
	mux.HandleFunc("GET /callback", func(rw http.ResponseWriter, r *http.Request) {
		select {
		case c.got <- r.URL.Query():
		default: // only the first answer counts
		}
		pages.For(r).Done(rw, ours.Done{Outcome: ours.DoctorDone}) // no referrer: the code is in the address
	})
	c.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: maxHeaderBytes}
	go c.server.Serve(l)
	w.callback = c
	return nil
}

// close lets the browser have its page first.
func (c *callback) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if c.server.Shutdown(ctx) != nil {
		c.server.Close()
	}
}

// checkLogin sends the user's browser to the authorization endpoint and waits.
func (w *walk) checkLogin(ctx context.Context) outcome {
	if err := w.listen(); err != nil {
		return skip("no port to listen on: " + err.Error())
	}
	if !w.usableAt(w.server.AuthorizationEndpoint) {
		return skip(noEndpoint)
	}
	at, _ := url.Parse(w.server.AuthorizationEndpoint)
	state := rand.Text()
	w.verifier = rand.Text() + rand.Text()
	sum := sha256.Sum256([]byte(w.verifier))
	q := at.Query()
	for k, v := range map[string]string{
		"response_type": "code", "client_id": w.client.ID, "redirect_uri": w.callback.url, "state": state, "resource": w.resource.Resource,
		"code_challenge": base64.RawURLEncoding.EncodeToString(sum[:]), "code_challenge_method": "S256",
	} {
		q.Set(k, v)
	}
	if scope := w.narrowScope(); scope != "" {
		q.Set("scope", scope)
	}
	at.RawQuery = q.Encode()
	if w.opt.Open != nil {
		w.opt.Open(at.String())
	}
	select {
	case got := <-w.callback.got:
		return w.judge(got, state)
	case <-time.After(w.opt.LoginTimeout):
		return fail("login.timeout", "no answer at "+w.callback.url+" within "+w.opt.LoginTimeout.String())
	case <-ctx.Done():
		return skip(ctx.Err().Error())
	}
}

// narrowScope asks for the first scope only where there are several, so that
// some tool is left to be refused.
func (w *walk) narrowScope() string {
	if offered := strings.Fields(w.bearer["scope"]); len(offered) > 0 {
		return offered[0]
	}
	if len(w.resource.ScopesSupported) > 0 {
		return w.resource.ScopesSupported[0]
	}
	return ""
}

func (w *walk) judge(got url.Values, state string) outcome {
	iss := got.Get("iss")
	switch {
	case got.Get("state") != state:
		return fail("login.state", fmt.Sprintf("%d characters were sent and %d came back", len(state), len(got.Get("state"))))
	case got.Has("iss") && iss != w.server.Issuer || !got.Has("iss") && w.server.IssParameter:
		return fail("login.iss", fmt.Sprintf("iss is %q, the issuer %q", iss, w.server.Issuer))
	case got.Get("error") == "invalid_target":
		return fail("login.target", w.resource.Resource+": "+got.Get("error_description"))
	case got.Get("error") != "":
		return fail("login.refused", strings.TrimSpace(got.Get("error")+" "+got.Get("error_description")))
	case got.Get("code") == "":
		return fail("login.refused", "neither code nor error came back")
	}
	w.code = got.Get("code")
	return pass("")
}

// tokens is what is read of the token answer (RFC 6749, section 5.1).
type tokens struct {
	Access  string `json:"access_token"`
	Type    string `json:"token_type"`
	Refresh string `json:"refresh_token"`
	Scope   string `json:"scope"`
	Expires int64  `json:"expires_in"`
}

func (w *walk) checkExchange(ctx context.Context) outcome {
	if w.granted != nil {
		return w.keepToken(w.granted)
	}
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {w.code}, "redirect_uri": {w.callback.url},
		"code_verifier": {w.verifier}, "client_id": {w.client.ID}, "resource": {w.resource.Resource},
	}
	if w.client.Secret != "" {
		form.Set("client_secret", w.client.Secret)
	}
	if err := w.prove(); err != nil {
		return skip(err.Error())
	}
	a, err := w.postProven(ctx, w.server.TokenEndpoint, func(header ...string) (*answer, error) {
		return w.postForm(ctx, w.server.TokenEndpoint, form, header...)
	})
	if err != nil {
		return fail("exchange.malformed", transport(err))
	}
	if a.status >= 400 {
		if a.oauthError() == "invalid_target" {
			return fail("exchange.target", w.resource.Resource+": "+a.String())
		}
		return fail("exchange.refused", a.String())
	}
	return w.keepToken(a)
}

// session is a connection to the MCP server through the gate.
type session struct {
	*mcp.ClientSession
	tools  []string
	scopes []declaredScope
}

type declaredScope struct {
	Name  string   `json:"name"`
	Tools []string `json:"tools"`
}

// withToken adds the token to requests to the MCP URL's origin, and remembers the last
// refusal.
type withToken struct {
	walk    *walk
	refused *http.Response
}

func (t *withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	if !sameOrigin(r.URL, t.walk.url) {
		return nil, errors.New("the doctor takes its token nowhere else")
	}
	resp, err := t.send(r)
	if err == nil && t.walk.prover != nil && t.walk.prover.learn(r.URL.String(), &answer{status: resp.StatusCode, header: resp.Header}) {
		resp.Body.Close()
		resp, err = t.send(r)
	}
	if err == nil && (resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden || resp.StatusCode == http.StatusServiceUnavailable) {
		t.refused = resp
	}
	return resp, err
}

// send sends r, or a copy of it, with the token.
func (t *withToken) send(r *http.Request) (*http.Response, error) {
	credentials, err := t.walk.credentials(r.Method, r.URL.String())
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	if r.GetBody != nil {
		if r.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
	}
	for i := 0; i+1 < len(credentials); i += 2 {
		r.Header.Set(credentials[i], credentials[i+1])
	}
	t.walk.probe.note(r)
	return t.walk.probe.client.Transport.RoundTrip(r)
}

func (w *walk) checkSession(ctx context.Context) outcome {
	ctx, cancel := context.WithTimeout(ctx, w.opt.Timeout)
	defer cancel()
	carrier := &withToken{walk: w}
	client := mcp.NewClient(&mcp.Implementation{Name: "mcp-forward-auth-doctor", Version: w.opt.Version}, nil)
	opened, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: w.url.String(), MaxRetries: -1, DisableStandaloneSSE: true,
		HTTPClient: &http.Client{Transport: carrier, CheckRedirect: w.probe.client.CheckRedirect},
	}, nil)
	var list *mcp.ListToolsResult
	if err == nil {
		if list, err = opened.ListTools(ctx, nil); err != nil {
			opened.Close()
		}
	}
	if err != nil {
		if r := carrier.refused; r != nil {
			return w.denied(r)
		}
		return fail("session.failed", err.Error())
	}
	w.session = &session{ClientSession: opened}
	for _, t := range list.Tools {
		w.session.tools = append(w.session.tools, t.Name)
	}
	if raw, err := json.Marshal(list.Meta["scopes"]); err == nil {
		_ = json.Unmarshal(raw, &w.session.scopes) // a server need not declare any
	}
	version := "?"
	if init := opened.InitializeResult(); init != nil {
		version = init.ProtocolVersion
	}
	return pass(fmt.Sprintf("MCP %s, %d tools", version, len(list.Tools)))
}

// checkCache repeats a request that the token has just opened, without the token and
// with an invalid one: a cache must not answer.
func (w *walk) checkCache(ctx context.Context) outcome {
	for _, header := range [][]string{nil, {"Authorization", "Bearer not-a-token-but-a-question-of-the-doctor"}} {
		a, err := w.post(ctx, header...)
		switch {
		case err != nil:
			return skip(transport(err))
		case a.status < 300:
			return fail("cache.admitted", fmt.Sprintf("a POST with %s, after one with the token: %s", cmp.Or(strings.Join(header, ": "), "no token"), a))
		}
	}
	return pass("")
}

// checkStream opens the event stream of a session. A good gateway passes the
// answer's header on at once; one that buffers waits for more.
func (w *walk) checkStream(ctx context.Context) outcome {
	id := w.session.ID()
	if id == "" {
		return skip("the MCP server keeps no session, so it has no stream that stays open")
	}
	a, err := w.authorized(ctx, w.opt.StreamTimeout, request{http.MethodGet, w.url.String(), []string{
		"Accept", "text/event-stream",
		"Mcp-Session-Id", id, "MCP-Protocol-Version", w.session.InitializeResult().ProtocolVersion,
	}, ""})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fail("stream.buffered", fmt.Sprintf("GET %s: nothing within %s", w.url, w.opt.StreamTimeout))
	case err != nil:
		return skip(transport(err))
	case a.status != http.StatusOK || a.media() != "text/event-stream":
		return skip("the MCP server opens no stream: " + a.String())
	}
	return pass(fmt.Sprintf("the stream began after %s", a.headers.Round(time.Millisecond)))
}

// modern is the first revision whose headers name what a request does; requestMeta is
// what its requests carry instead of a handshake.
const (
	older       = "2025-11-25" // says nothing in headers
	modern      = "2026-07-28"
	requestMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"` + modern + `","io.modelcontextprotocol/clientInfo":{"name":"mcp-forward-auth-doctor","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`
)

// checkStepUp asks for a tool outside the token's scopes, by the headers that
// the gate reads (MCP 2026-07-28). The body asks for a tool that does not exist,
// so that nothing happens should the request get through.
func (w *walk) checkStepUp(ctx context.Context) outcome {
	tool := w.session.outside(strings.Fields(w.token.Scope))
	if tool == "" {
		return skip("every tool is within the granted scopes")
	}
	a, err := w.authorized(ctx, w.opt.Timeout, request{http.MethodPost, w.url.String(), []string{
		"Content-Type", "application/json", "Accept", "application/json, text/event-stream",
		"MCP-Protocol-Version", modern, "Mcp-Method", "tools/call", "Mcp-Name", tool,
	}, `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"mcp-forward-auth-doctor/no-such-tool","arguments":{},` + requestMeta + `}}`})
	if err != nil {
		return skip(transport(err))
	}
	lines := a.header.Values("WWW-Authenticate")
	saw := fmt.Sprintf("tool %q: %s%s", tool, a, shownHeader(a, "WWW-Authenticate"))
	bearer, _, err := bearerChallenges(lines)
	switch {
	case a.status != http.StatusForbidden && a.status != http.StatusUnauthorized:
		return skip("the gate does not tell tools apart: " + a.String())
	case len(lines) == 0:
		return fail("step-up.bare", saw)
	case err != nil || len(bearer) == 0 || bearer[0]["scope"] == "" || bearer[0]["error"] != "insufficient_scope":
		return fail("step-up.vague", saw)
	}
	if a.status == http.StatusUnauthorized {
		return warn("step-up.unauthorized", saw)
	}
	return pass(fmt.Sprintf("%d, scope %q", a.status, bearer[0]["scope"]))
}

// checkHeaders sends a listing whose header names another one. Neither has an
// effect on the server (MCP 2026-07-28, transports, "Server Validation").
func (w *walk) checkHeaders(ctx context.Context) outcome {
	header := []string{
		"Content-Type", "application/json", "Accept", "application/json, text/event-stream",
		"MCP-Protocol-Version", modern, "Mcp-Method",
	}
	ask := func(method string) (*answer, error) {
		return w.authorized(ctx, w.opt.Timeout, request{http.MethodPost, w.url.String(), append(slices.Clone(header), method), `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{` + requestMeta + `}}`})
	}
	plain, err := ask("tools/list")
	if err != nil {
		return skip(transport(err))
	}
	if plain.status != http.StatusOK {
		return skip("the MCP server does not speak " + modern + ", so tools cannot be decided by headers: " + plain.String())
	}
	a, err := ask("prompts/list")
	switch {
	case err != nil:
		return skip(transport(err))
	case a.status < http.StatusMultipleChoices:
		return fail("headers.unchecked", "tools/list under Mcp-Method: prompts/list: "+a.String())
	}
	return pass("refused with " + a.String())
}

// checkOlder calls a tool as a client of an older revision does, without the headers,
// and reports what decisions depend on here. The tool does not exist, so nothing
// happens if the request passes.
func (w *walk) checkOlder(ctx context.Context) outcome {
	if w.session.outside(strings.Fields(w.token.Scope)) == "" {
		return skip("every tool is within the granted scopes")
	}
	call, err := w.asOlder(ctx, `"tools/call","params":{"name":"mcp-forward-auth-doctor/no-such-tool","arguments":{}}`)
	if err != nil {
		return skip(transport(err))
	}
	if !refused(call) {
		return warn("older.open", "decisions rest on headers for clients of "+modern+" and later, and on the token alone for older ones: tools/call under MCP-Protocol-Version: "+older+": "+call.String())
	}
	list, err := w.asOlder(ctx, `"tools/list","params":{}`)
	switch {
	case err != nil:
		return skip(transport(err))
	case refused(list):
		return pass("decisions rest on headers, and older revisions are refused as a whole: " + list.String())
	}
	return pass("decisions rest on the body, for clients of every revision: an older one's tools/call is refused with " + call.String() + ", and its tools/list is let through")
}

// asOlder sends a message as a client of an older revision does.
func (w *walk) asOlder(ctx context.Context, message string) (*answer, error) {
	header := []string{
		"Content-Type", "application/json", "Accept", "application/json, text/event-stream", "MCP-Protocol-Version", older,
	}
	if id := w.session.ID(); id != "" {
		header = append(header, "Mcp-Session-Id", id)
	}
	return w.authorized(ctx, w.opt.Timeout, request{http.MethodPost, w.url.String(), header, `{"jsonrpc":"2.0","id":1,"method":` + message + `}`})
}

// refused reports whether the gate refused a request.
func refused(a *answer) bool {
	return a.status == http.StatusForbidden || a.status == http.StatusUnauthorized
}

// outside returns a tool that no granted scope has, "" if there is none.
func (s *session) outside(granted []string) string {
	covered, declared := map[string]bool{}, map[string]bool{}
	for _, sc := range s.scopes {
		for _, tool := range sc.Tools {
			declared[tool] = true
			if slices.Contains(granted, sc.Name) {
				covered[tool] = true
			}
		}
	}
	for _, tool := range slices.Sorted(maps.Keys(declared)) {
		if !covered[tool] && slices.Contains(s.tools, tool) {
			return tool
		}
	}
	return ""
}
