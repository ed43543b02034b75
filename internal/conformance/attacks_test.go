package conformance

import (
	"net/http"
	"strings"
	"time"
)

var attackChecks = []Check{
	{IDs: "ATK-37", Run: hugeRequests, Twins: twins(replies("*", func(_ *http.Request, a *reply) {
		if a.Status >= 400 {
			a.Status = 200
		}
	}))},
	{IDs: "ATK-49", Run: noOracles, Twins: twins(replies("/token", func(r *http.Request, a *reply) {
		r.ParseForm()
		if strings.HasSuffix(r.PostForm.Get("client_id"), "AA") && a.Status == 401 {
			a.Body = `{"error":"invalid_client","error_description":"there is no such client"}`
		}
	}))},
	{IDs: "ATK-52", Run: clientsAreNoUsers, Twins: twins(members("/token", func(m map[string]any) { m["access_token"] = reclaim(m["access_token"], "sub", "client-as-user") }), status("/token", 400, 200))},
	{IDs: "ATK-54", Run: scopesNeverGrow, Twins: twins(members("/token", func(m map[string]any) { m["scope"] = "notes:read notes:write" }))},
}

func hugeRequests(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	big := strings.Repeat("x", 10<<20)
	for what, a := range map[string]*answer{
		"token body":          w.do("POST", issuerMCP+"/token", big, "Content-Type", "application/x-www-form-urlencoded"),
		"registration body":   w.do("POST", issuerMCP+"/register", big, "Content-Type", "application/json"),
		"query":               w.get(c.request(with("padding", strings.Repeat("x", 100<<10)))),
		"100 000 parameters":  w.do("POST", issuerMCP+"/token", strings.Repeat("a&", 30000), "Content-Type", "application/x-www-form-urlencoded"),
		"consent form":        w.do("POST", issuerMCP+"/consent", big, "Content-Type", "application/x-www-form-urlencoded", "Origin", issuerMCP),
		"authorization value": w.ask(resourceMCP, strings.Repeat("x", 100<<10)),
	} {
		t.Want(a.Status >= 400 && a.Status < 500, "%s: %d", what, a.Status)
	}
	began := time.Now()
	out := w.raw("GET /authenticate HTTP/1.1\r\nHost: " + hostMCP + "\r\nX-Big: " + strings.Repeat("x", 2<<20) + "\r\n\r\n")
	t.Want(!strings.HasPrefix(out, "HTTP/1.1 200") && time.Since(began) < 6*time.Second, "a header of 2 MiB: %.30q", out)
	t.Want(w.get(issuerMCP+oauthDocument).Status == 200, "afterwards the service is gone")
}

func noOracles(t *T) {
	w := t.World()
	c := w.confidential("client_secret_post")
	other := c.id[:len(c.id)-2] + "AA"
	wrong := c.exchange("x", with("client_secret", "wrong"))
	unknown := c.exchange("x", with("client_id", other), with("client_secret", "wrong"))
	t.Want(wrong.Status == unknown.Status && wrong.Body == unknown.Body, "a wrong secret and an unknown client differ: %s %s", wrong.Body, unknown.Body)
	public := w.register(hostMCP, nil)
	bodies := map[string]bool{}
	for _, code := range []string{"x", strings.Repeat("y", 200), flip(public.code())} {
		bodies[public.exchange(code).Body] = true
	}
	for _, token := range []string{"x", flip(strings.Repeat("z", 300))} {
		public.refresh(token).Refused(400, "invalid_grant")
	}
	t.Want(len(bodies) == 1, "bad codes differ: %v", bodies)
}

func clientsAreNoUsers(t *T) {
	w := t.World(configured("", "clients: [{id: alice-1, authMethod: client_secret_post, secretFiles: [secret-new], redirectURIs: ['"+callback+"']}]"))
	c := &client{w: w, host: hostMCP, id: "alice-1", secret: "a-secret-of-the-conformance-suite-secret-new", redirect: callback, verifier: verifier}
	c.exchange("x", with("grant_type", "client_credentials")).Refused(400, "unsupported_grant_type")
	token := c.token()
	m := t.claims(token)
	t.Want(m["sub"] != m["client_id"] && strings.HasSuffix(m["sub"].(string), ":"+alice.Subject), "sub %v, client_id %v", m["sub"], m["client_id"])
}

func scopesNeverGrow(t *T) {
	w := t.World(own)
	c := w.register(hostMCP, nil)
	_, refresh := c.pair(with("scope", "notes:read"))
	c.refresh(refresh, with("scope", "notes:read notes:write")).Refused(400, "invalid_scope")
	a := c.refresh(refresh)
	t.Want(a.Text("scope") == "notes:read", "a refresh grants %q", a.Text("scope"))
	a = c.exchange(c.code(with("scope", "notes:read")), with("scope", "notes:write"))
	t.Want(a.Text("scope") == "notes:read", "an exchange grants %q", a.Text("scope"))
	to := w.browser().signIn(c.request(with("scope", "notes:read")), with("scope", "notes:read", "admin", "made:up")).Location()
	a = c.exchange(to.Query().Get("code"))
	t.Want(a.Text("scope") == "notes:read", "a forged form grants %q", a.Text("scope"))
	t.Want(t.claims(a.Text("access_token"))["scope"] == "notes:read", "scope claim %v", t.claims(a.Text("access_token"))["scope"])
}
