package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

var revisionChecks = []Check{
	{IDs: "REV-01", Run: originIsTheIssuer, Twins: twins(setMember(oauthDocument, "issuer", issuerMCP+"/mcp"), replies(oauthDocument, func(r *http.Request, a *reply) {
		if r.Header.Get("MCP-Protocol-Version") == "2025-03-26" {
			a.Status = 404
		}
	}))},
	{IDs: "REV-02", Run: fallbackEndpoints, Twins: twins(status("/register", 201, 404), status("/authorize", 200, 404), status("/token", 200, 404))},
	{IDs: "REV-03", Run: revisionHeaderChangesNothing, Twins: twins(replies("*", func(r *http.Request, a *reply) {
		if r.Header.Get("MCP-Protocol-Version") == "2025-03-26" && strings.HasPrefix(a.Body, "{") {
			a.Body = strings.Replace(a.Body, "{", `{"revision":"2025-03-26",`, 1)
		}
	}))},
	{IDs: "REV-04", Run: noResourceParameter, Twins: twins(members("/token", func(m map[string]any) {
		m["access_token"] = reclaim(m["access_token"], "aud", issuerMCP)
	}))},
	{IDs: "REV-05", Run: registrationCanBeSwitchedOff, Twins: twins(answers("/register", 404, 201, `{"client_id":"x"}`), configTwin("seedFiles: [seed]", "seedFiles: [seed]\nregistration: {dynamic: {enabled: false}}"))[:1]},
	{IDs: "REV-06", Run: one401ForAll, Twins: twins(replaceHeader("/authenticate", "WWW-Authenticate", "resource_metadata", "metadata"), status(oauthDocument, 200, 404), status(prm+"/mcp", 200, 404))},
	{IDs: "REV-07", Run: november2025, Twins: twins(status(openidDocument, 200, 404), dropMember(openidDocument, "code_challenge_methods_supported"), replaceHeader("/authenticate", "WWW-Authenticate", "scope=", "scopes="))},
	{IDs: "REV-08", Run: issuerIsPermanent, Twins: twins(replies(oauthDocument, func(_ *http.Request, a *reply) {
		a.Body = strings.Replace(a.Body, `"issuer":"`+issuerMCP+`"`, fmt.Sprintf(`"issuer":"%s/%d"`, issuerMCP, time.Now().UnixNano()), 1)
	}))},
	{IDs: "REV-09", Run: legacyMethodsPass, Twins: twins(replies("/authenticate", func(r *http.Request, a *reply) {
		if r.Header.Get("X-Original-Method") != "POST" {
			a.Status = 403
		}
	}))},
	{IDs: "REV-10", Run: customSchemesCanBeOff, Twins: twins(answers("/register", 400, 201, `{"client_id":"x"}`), status("/register", 201, 400))},
	{IDs: "REV-11", Run: everyRevisionCompletes, Twins: twins(dropMember(oauthDocument, "code_challenge_methods_supported"), location("/callback", func(q url.Values) { q.Del("iss") }),
		replaceHeader("/authenticate", "WWW-Authenticate", "resource_metadata", "metadata"), status("/authenticate", 200, 401), dropMember("/token", "refresh_token"))},
}

func originIsTheIssuer(t *T) {
	w := t.World()
	for _, issuer := range []string{issuerMCP, issuerMany, issuerRoot} {
		a := w.get(issuer+oauthDocument, "MCP-Protocol-Version", "2025-03-26")
		t.Want(a.Status == 200 && a.Text("issuer") == issuer, "%s: %d %.80s", issuer, a.Status, a.Body)
	}
}

// fallbackEndpoints is a client that found no metadata.
func fallbackEndpoints(t *T) {
	w := t.World()
	a := w.postJSON(issuerMCP+"/register", metadata())
	if a.Status != 201 {
		t.Fatalf("/register: %d", a.Status)
	}
	c := &client{w: w, host: hostMCP, id: a.Text("client_id"), redirect: callback, verifier: verifier}
	if a = w.get(c.request(without("resource"))); a.Status != 200 {
		t.Fatalf("/authorize: %d", a.Status)
	}
	a = c.exchange(c.code(without("resource")))
	t.Want(a.Status == 200, "/token: %d", a.Status)
}

func revisionHeaderChangesNothing(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	for _, version := range []string{"2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28", "2099-01-01", "nonsense"} {
		for _, path := range []string{oauthDocument, openidDocument, prm + "/mcp", jwks} {
			plain, with := w.get(issuerMCP+path), w.get(issuerMCP+path, "MCP-Protocol-Version", version)
			t.Want(plain.Status == with.Status && plain.Body == with.Body, "%s differs for %s", path, version)
		}
		t.Want(w.get(c.request(), "MCP-Protocol-Version", version).Status == 200, "/authorize differs for %s", version)
		v := url.Values{"grant_type": {"authorization_code"}, "code": {"x"}, "client_id": {c.id}, "code_verifier": {verifier}}
		t.Want(w.form(issuerMCP+"/token", v).Body == w.form(issuerMCP+"/token", v, "MCP-Protocol-Version", version).Body, "/token differs for %s", version)
	}
}

func noResourceParameter(t *T) {
	w := t.World()
	for host, resource := range map[string]string{hostMCP: resourceMCP, hostRoot: issuerRoot} {
		token := w.register(host, nil).token(without("resource"))
		t.Want(t.claims(token)["aud"] == resource, "%s: aud %v", host, t.claims(token)["aud"])
	}
}

func registrationCanBeSwitchedOff(t *T) {
	on, off := t.World(), t.World(configured("", "registration: {dynamic: {enabled: false}}"))
	t.Want(on.postJSON(issuerMCP+"/register", metadata()).Status == 201, "on by default")
	t.Want(off.postJSON(issuerMCP+"/register", metadata()).Status == 404, "off, and served")
	c := on.register(hostMCP, nil)
	c.w = off
	off.get(c.request()).LocalError("off, and an earlier client works")
}

func one401ForAll(t *T) {
	w := t.World()
	a := w.do("POST", resourceMCP, "{}")
	t.Want(a.Status == 401, "%d", a.Status)
	c := a.challenge()
	address := c.params["resource_metadata"]
	t.Want(c.scheme == "Bearer" && address != "", "challenge %v", c)
	if len(t.faults) > 0 {
		return
	}
	doc := w.get(address)
	if doc.Status != 200 {
		t.Fatalf("%s: %d", address, doc.Status)
	}
	servers := list(doc.JSON()["authorization_servers"])
	t.Want(len(servers) == 1 && w.get(servers[0]+oauthDocument).Status == 200, "no RFC 8414 metadata at %v", servers)
}

func november2025(t *T) {
	w := t.World()
	w.get(w.register(hostMCP, nil).request())
	a := w.get(issuerMCP + openidDocument)
	t.Want(a.Status == 200, "no OpenID document: %d", a.Status)
	if a.Status == 200 {
		m := a.JSON()
		t.Want(m["issuer"] == issuerMCP && sameList(m["code_challenge_methods_supported"], "S256"), "issuer %v, PKCE %v", m["issuer"], m["code_challenge_methods_supported"])
		t.Want(m["client_id_metadata_document_supported"] == true, "no metadata documents")
	}
	t.Want(w.ask(resourceMCP, "").challenge().params["scope"] != "", "no scope in the challenge")
}

// issuerIsPermanent: clients keep credentials by issuer, so nothing but the
// name of the host may change it.
func issuerIsPermanent(t *T) {
	base := t.World()
	want := base.get(issuerMCP + oauthDocument).Text("issuer")
	for what, w := range map[string]*world{
		"path": t.World(configured("path: /mcp,", "path: /other,")), "name": t.World(configured("Team notes", "Other notes")),
		"keys": t.World(configured("seedFiles: [seed]", "seedFiles: [another]")), "registration": t.World(configured("", "registration: {dynamic: {enabled: false}}")),
	} {
		got := w.get(issuerMCP + oauthDocument).Text("issuer")
		t.Want(got == want && got == issuerMCP, "another %s makes the issuer %q", what, got)
	}
}

func legacyMethodsPass(t *T) {
	w := t.World(withMCP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case "GET":
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "event: endpoint\ndata: /mcp/messages?id=1\n\n")
		case "DELETE":
			w.WriteHeader(405)
		default:
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(400)
			fmt.Fprint(w, `{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"unsupported","data":{"supported":["2025-06-18"]}}}`)
		}
	})))
	token := w.newToken(hostMCP, resourceMCP)
	auth := []string{"Authorization", "Bearer " + token, "MCP-Protocol-Version", "2025-03-26"}
	a := w.get(resourceMCP, auth...)
	t.Want(a.Status == 200 && strings.Contains(a.Body, "event: endpoint"), "GET: %d", a.Status)
	t.Want(w.do("DELETE", resourceMCP, "", auth...).Status == 405, "the MCP server's 405 is changed")
	a = w.do("POST", resourceMCP+"/messages?id=1", "{}", auth...)
	t.Want(a.Status == 400 && strings.Contains(a.Body, "-32022"), "the MCP server's error is changed: %d %s", a.Status, a.Body)
}

func customSchemesCanBeOff(t *T) {
	const scheme = "cursor://anysphere.cursor-mcp/oauth/callback"
	t.Want(t.World().postJSON(issuerMCP+"/register", metadata(scheme)).Status == 201, "on by default")
	off := t.World(configured("proxy:\n", "proxy:\n  allowedRedirectURLs: ['https://.*', 'http://(localhost|127\\.0\\.0\\.1)(:\\d+)?/.*']\n"))
	t.Want(off.postJSON(issuerMCP+"/register", metadata(scheme)).Status == 400, "off, and registered")
}

// profile is how a client of one revision goes about it.
type profile struct {
	revision string
	// usesPRM: finds the authorization server through resource metadata;
	// else at the root of the MCP server's host.
	usesPRM bool
	// sendsResource: RFC 8707. checksIss: RFC 9207. checksPKCE: refuses a
	// server that does not advertise S256.
	sendsResource, checksIss, checksPKCE bool
	// prefersDocument: is known by a metadata document.
	prefersDocument bool
	// modern: sends Mcp-Method and Mcp-Name.
	modern bool
}

var profiles = []profile{
	{revision: "2025-03-26"},
	{revision: "2025-06-18", usesPRM: true, sendsResource: true},
	{revision: "2025-11-25", usesPRM: true, sendsResource: true, checksPKCE: true, prefersDocument: true},
	{revision: "2026-07-28", usesPRM: true, sendsResource: true, checksPKCE: true, checksIss: true, prefersDocument: true, modern: true},
}

func everyRevisionCompletes(t *T) {
	w := t.World(own)
	for _, p := range profiles {
		p.run(t, w)
	}
}

// run goes the whole way; whatever goes wrong is a fault of the service.
func (p profile) run(t *T, w *world) {
	version := []string{"MCP-Protocol-Version", p.revision}
	fail := func(format string, args ...any) { t.Fatalf(p.revision+": "+format, args...) }

	// Discover.
	issuer := issuerMCP
	first := w.do("POST", resourceMCP, "{}", version...)
	if first.Status != 401 {
		fail("the first request: %d", first.Status)
	}
	scope := ""
	if p.usesPRM {
		c := first.challenge()
		scope = c.params["scope"]
		address := c.params["resource_metadata"]
		if address == "" {
			fail("no resource_metadata in the challenge")
		}
		doc := w.get(address, version...)
		if doc.Status != 200 || doc.Text("resource") != resourceMCP {
			fail("resource metadata: %d %.100s", doc.Status, doc.Body)
		}
		issuer = list(doc.JSON()["authorization_servers"])[0]
	}
	server := w.get(issuer+oauthDocument, version...)
	if server.Status != 200 || server.Text("issuer") != issuer {
		fail("metadata: %d %.100s", server.Status, server.Body)
	}
	m := server.JSON()
	if p.checksPKCE && !sameList(m["code_challenge_methods_supported"], "S256") {
		fail("S256 is not advertised")
	}

	// Register.
	const redirect = "http://localhost:53682/callback"
	c := &client{w: w, host: hostMCP, redirect: redirect, verifier: verifier}
	if p.prefersDocument && m["client_id_metadata_document_supported"] == true {
		host := fmt.Sprintf("client%d.example", places.Add(1))
		c.id = "https://" + host + "/client.json"
		w.web.site(host, serves(document(c.id, "redirect_uris", []string{"http://localhost/callback"})))
		w.clock.Move(time.Minute)
	} else {
		a := w.postJSON(m["registration_endpoint"].(string), metadata("http://localhost/callback"), version...)
		if a.Status != 201 {
			fail("registration: %d %s", a.Status, a.Body)
		}
		c.id = a.Text("client_id")
	}

	// Authorize.
	edits := []edit{without("resource"), with("scope", "notes:read")}
	if p.sendsResource {
		edits[0] = with("resource", resourceMCP)
	}
	_ = scope // a real client asks for the challenge's scope; one suffices here, to see a step-up
	v := c.response(edits...)
	if v.Get("state") != "client-state" || v.Get("code") == "" {
		fail("authorization response %v", v)
	}
	if p.checksIss && v.Get("iss") != issuer {
		fail("iss %q", v.Get("iss"))
	}

	// Token.
	a := c.exchange(v.Get("code"), edits[0])
	if a.Status != 200 {
		fail("token: %d %s", a.Status, a.Body)
	}

	// Call.
	call := func(token, tool string) *answer {
		body, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": map[string]any{
			"name": tool, "arguments": map[string]any{},
			"_meta": map[string]any{"io.modelcontextprotocol/protocolVersion": p.revision, "io.modelcontextprotocol/clientCapabilities": map[string]any{}},
		}})
		h := append([]string{"Authorization", "Bearer " + token, "Content-Type", "application/json", "Accept", "application/json, text/event-stream"}, version...)
		if p.modern {
			h = append(h, "Mcp-Method", "tools/call", "Mcp-Name", tool)
		}
		return w.do("POST", resourceMCP, string(body), h...)
	}
	token, refresh := a.Text("access_token"), a.Text("refresh_token")
	if a := call(token, "notes_list"); a.Status != 200 || !strings.Contains(a.Body, "Standup") {
		fail("tools/call: %d %.200s", a.Status, a.Body)
	}

	// Step up, where the revision lets the gateway see the tool.
	if p.modern {
		a := call(token, "weather_today")
		if a.Status != 401 && a.Status != 403 {
			fail("a tool beyond the scope: %d", a.Status)
		}
		wanted := a.challenge().params["scope"]
		if !strings.Contains(wanted, "weather:read") || !strings.Contains(wanted, "notes:read") {
			fail("the step-up asks for %q", wanted)
		}
		more := c.exchange(c.response(edits[0], with("scope", wanted)).Get("code"), edits[0])
		if more.Status != 200 {
			fail("step-up: %d", more.Status)
		}
		token, refresh = more.Text("access_token"), more.Text("refresh_token")
		for _, tool := range []string{"weather_today", "notes_list"} {
			if a := call(token, tool); a.Status != 200 {
				fail("%s after the step-up: %d", tool, a.Status)
			}
		}
	}

	// Refresh.
	if refresh == "" {
		fail("no refresh token")
	}
	w.clock.Move(50 * time.Minute)
	again := c.refresh(refresh, edits[0], without("scope"))
	if again.Status != 200 {
		fail("refresh: %d %s", again.Status, again.Body)
	}
	if a := call(again.Text("access_token"), "notes_list"); a.Status != 200 {
		fail("tools/call after a refresh: %d", a.Status)
	}
}
