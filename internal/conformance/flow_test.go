package conformance

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// A flow is made of helpers that end the check with Setupf when a step other
// than the one under test goes wrong.

// browser keeps cookies by host, as a person's browser would.
type browser struct {
	w   *world
	jar map[string]map[string]string
	// set lists the Set-Cookie lines of the last answer.
	set []string
	// trail lists where it has been.
	trail []string
}

func (w *world) browser() *browser { return &browser{w: w, jar: map[string]map[string]string{}} }

func (b *browser) send(req *http.Request) *answer {
	host := req.URL.Host
	var cookies []string
	for name, value := range b.jar[host] {
		cookies = append(cookies, name+"="+value)
	}
	if len(cookies) > 0 {
		req.Header.Set("Cookie", strings.Join(cookies, "; "))
	}
	a := b.w.send(req)
	b.set = a.Header.Values("Set-Cookie")
	b.trail = append(b.trail, req.Method+" "+req.URL.Host+req.URL.Path)
	for _, line := range b.set {
		c, err := http.ParseSetCookie(line)
		if err != nil {
			b.w.t.Setupf("cookie %q: %v", line, err)
		}
		if b.jar[host] == nil {
			b.jar[host] = map[string]string{}
		}
		if c.MaxAge < 0 {
			delete(b.jar[host], c.Name)
		} else {
			b.jar[host][c.Name] = c.Value
		}
	}
	return a
}

func (b *browser) get(address string, header ...string) *answer {
	req, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		b.w.t.Setupf("%v", err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return b.send(req)
}

// post sends a form as a page of the same origin would; header overrides.
func (b *browser) post(address string, form url.Values, header ...string) *answer {
	req, err := http.NewRequest(http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.w.t.Setupf("%v", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", "https://"+req.URL.Host)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i+1 < len(header); i += 2 {
		if header[i+1] == "" {
			req.Header.Del(header[i])
		} else {
			req.Header.Set(header[i], header[i+1])
		}
	}
	return b.send(req)
}

var (
	inputTag  = regexp.MustCompile(`<input\b[^>]*>`)
	attribute = regexp.MustCompile(`([a-z-]+)="([^"]*)"`)
	hrefs     = regexp.MustCompile(`href="([^"]*)"`)
)

// consentForm is what the consent page would post with "allow".
func consentForm(a *answer) url.Values {
	form := url.Values{}
	for _, tag := range inputTag.FindAllString(a.Body, -1) {
		attrs := map[string]string{}
		for _, m := range attribute.FindAllStringSubmatch(tag, -1) {
			attrs[m[1]] = html.UnescapeString(m[2])
		}
		if attrs["type"] == "hidden" || attrs["type"] == "checkbox" && strings.Contains(tag, " checked") {
			form.Add(attrs["name"], attrs["value"])
		}
	}
	form.Set("decision", "allow")
	return form
}

// scopeBoxes are the scopes that a consent page offers, ticked or not; a scope without
// an alternative has no box.
func scopeBoxes(a *answer) (scopes []string) {
	for _, tag := range inputTag.FindAllString(a.Body, -1) {
		attrs := map[string]string{}
		for _, m := range attribute.FindAllStringSubmatch(tag, -1) {
			attrs[m[1]] = html.UnescapeString(m[2])
		}
		if attrs["name"] == "scope" {
			scopes = append(scopes, attrs["value"])
		}
	}
	return scopes
}

// links are the hrefs of a page.
func links(a *answer) []string {
	var out []string
	for _, m := range hrefs.FindAllStringSubmatch(a.Body, -1) {
		if u := html.UnescapeString(m[1]); u != "data:," {
			out = append(out, u)
		}
	}
	return out
}

// consent gets the consent page of an authorization request.
func (b *browser) consent(authorize string) (*answer, url.Values) {
	a := b.get(authorize)
	if a.Status != 200 || !strings.Contains(a.Body, `name="request"`) {
		b.w.t.Setupf("no consent page: %d %.300q", a.Status, visible(a.Body))
	}
	return a, consentForm(a)
}

// approve posts the consent form and returns the redirect to the provider.
func (b *browser) approve(host string, form url.Values) *answer {
	a := b.post("https://"+host+"/consent", form)
	if a.Status != http.StatusSeeOther && a.Status != http.StatusFound {
		b.w.t.Setupf("consent was not accepted: %d %.300q", a.Status, visible(a.Body))
	}
	return a
}

// provider visits the identity provider and returns the callback URL.
func (b *browser) provider(address string) string {
	resp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Get(address)
	if err != nil {
		b.w.t.Setupf("identity provider: %v", err)
	}
	resp.Body.Close()
	to := resp.Header.Get("Location")
	if to == "" {
		b.w.t.Setupf("the identity provider answered %d to %s", resp.StatusCode, address)
	}
	return to
}

// toCallback stops before the callback URL, which it returns.
func (b *browser) toCallback(authorize string, edits ...edit) string {
	u, _ := url.Parse(authorize)
	_, form := b.consent(authorize)
	for _, e := range edits {
		e(form)
	}
	return b.provider(b.approve(u.Host, form).Header.Get("Location"))
}

// signIn goes all the way and returns the answer that redirects to the client.
func (b *browser) signIn(authorize string, edits ...edit) *answer {
	return b.get(b.toCallback(authorize, edits...))
}

// edit changes the parameters of a request.
type edit func(url.Values)

func with(name string, values ...string) edit {
	return func(v url.Values) { v[name] = values }
}

func without(name string) edit { return func(v url.Values) { v.Del(name) } }

// client is a registered client.
type client struct {
	w            *world
	host         string
	id, secret   string
	redirect     string
	verifier     string
	registration map[string]any
}

const (
	verifier  = "a-verifier-of-the-conformance-suite-0123456789"
	verifier2 = "another-verifier-of-the-conformance-suite-0123"
)

func challengeOf(v string) string {
	sum := sha256.Sum256([]byte(v))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// metadata is the registration of an ordinary public client.
func metadata(redirects ...string) map[string]any {
	if len(redirects) == 0 {
		redirects = []string{callback}
	}
	return map[string]any{
		"client_name": "Conformance client", "redirect_uris": redirects, "token_endpoint_auth_method": "none",
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
	}
}

func changed(m map[string]any, kv ...any) map[string]any {
	for i := 0; i+1 < len(kv); i += 2 {
		if kv[i+1] == nil {
			delete(m, kv[i].(string))
		} else {
			m[kv[i].(string)] = kv[i+1]
		}
	}
	return m
}

// register registers a client at host; what is nil is the ordinary one.
func (w *world) register(host string, m map[string]any) *client {
	if m == nil {
		m = metadata()
	}
	a := w.postJSON("https://"+host+"/register", m)
	if a.Status != http.StatusCreated {
		w.t.Setupf("registration: %d %s", a.Status, a.Body)
	}
	var r map[string]any
	if err := json.Unmarshal([]byte(a.Body), &r); err != nil {
		w.t.Setupf("registration: %v", err)
	}
	c := &client{w: w, host: host, registration: r, verifier: verifier}
	c.id, _ = r["client_id"].(string)
	c.secret, _ = r["client_secret"].(string)
	if uris, _ := r["redirect_uris"].([]any); len(uris) > 0 {
		c.redirect, _ = uris[0].(string)
	}
	return c
}

// request is the client's authorization request.
func (c *client) request(edits ...edit) string {
	v := url.Values{
		"client_id": {c.id}, "redirect_uri": {c.redirect}, "response_type": {"code"}, "state": {"client-state"},
		"code_challenge": {challengeOf(c.verifier)}, "code_challenge_method": {"S256"},
	}
	if c.host == hostMCP {
		v.Set("resource", resourceMCP)
	}
	for _, e := range edits {
		e(v)
	}
	return "https://" + c.host + "/authorize?" + v.Encode()
}

// response signs in and returns the parameters that reach the client.
func (c *client) response(edits ...edit) url.Values {
	return c.w.browser().signIn(c.request(edits...)).Location().Query()
}

// code signs in and returns the code.
func (c *client) code(edits ...edit) string {
	v := c.response(edits...)
	if v.Get("code") == "" {
		c.w.t.Setupf("no code: %s %s", v.Get("error"), v.Get("error_description"))
	}
	return v.Get("code")
}

// exchange redeems a code.
func (c *client) exchange(code string, edits ...edit) *answer {
	v := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {c.redirect}, "code_verifier": {c.verifier}, "client_id": {c.id}}
	if c.secret != "" {
		v.Set("client_secret", c.secret)
	}
	for _, e := range edits {
		e(v)
	}
	return c.w.form("https://"+c.host+"/token", v)
}

// tokens signs in and redeems the code.
func (c *client) tokens(edits ...edit) *answer {
	a := c.exchange(c.code(edits...))
	if a.Status != 200 {
		c.w.t.Setupf("no token: %d %s", a.Status, a.Body)
	}
	return a
}

// token is an access token for a resource of the client's host.
func (c *client) token(edits ...edit) string {
	s := c.tokens(edits...).Text("access_token")
	if s == "" {
		c.w.t.Setupf("no access token")
	}
	return s
}

// newToken is a good access token of an ordinary client for resource.
func (w *world) newToken(host, resource string) string {
	return w.register(host, nil).token(with("resource", resource))
}

// ask asks as a gateway of the nginx dialect does: may this request pass?
func (w *world) ask(original, token string, header ...string) *answer {
	u, err := url.Parse(original)
	if err != nil {
		w.t.Setupf("%v", err)
	}
	h := []string{"X-Original-URL", original, "X-Original-Method", "POST", "Host", u.Host}
	if token != "" {
		h = append(h, "Authorization", "Bearer "+token)
	}
	return w.get("https://"+u.Host+"/authenticate", append(h, header...)...)
}

// claims decodes the payload of a JWT, header its header.
func (t *T) claims(token string) map[string]any { return t.jwtPart(token, 1) }
func (t *T) header(token string) map[string]any { return t.jwtPart(token, 0) }

func (t *T) jwtPart(token string, n int) map[string]any {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWT: %.40q", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[n])
	if err != nil {
		t.Fatalf("not a JWT: %v", err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatalf("not a JWT: %v", err)
	}
	return m
}

// challenge is a parsed WWW-Authenticate header.
type challenge struct {
	scheme string
	params map[string]string
	repeat bool
}

var challengeParam = regexp.MustCompile(`^([A-Za-z_]+)="([^"\\]*)"(?:, |$)`)

// challengeOf reads the one challenge of an answer by the grammar of RFC 9110.
func (a *answer) challenge() challenge {
	lines := a.Header.Values("WWW-Authenticate")
	if len(lines) != 1 {
		a.t.Fatalf("%s: %d WWW-Authenticate lines, want one", a.what, len(lines))
	}
	scheme, rest, _ := strings.Cut(lines[0], " ")
	c := challenge{scheme: scheme, params: map[string]string{}}
	for rest != "" {
		m := challengeParam.FindStringSubmatch(rest)
		if m == nil {
			a.t.Fatalf("%s: challenge %q is not quoted-string parameters", a.what, lines[0])
		}
		if _, dup := c.params[m[1]]; dup {
			c.repeat = true
		}
		c.params[m[1]] = m[2]
		rest = rest[len(m[0]):]
	}
	return c
}
