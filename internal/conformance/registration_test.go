package conformance

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
)

const noMetadataDocuments = "registration: {metadataDocuments: {enabled: false}}"

var dangerousURIs = []string{
	"javascript:alert(1)", "jAvAsCrIpT:alert(1)", "\tjavascript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd", "blob:https://a/b",
	"about:blank", "view-source:https://a", "intent://x", "ftp://a/b", "mailto:a@b.c", "ws://a/b", "wss://a/b", "chrome://settings", "chrome-extension://a/b",
	"java\nscript:alert(1)", "filesystem:https://a/b",
}

var registrationChecks = []Check{
	{IDs: "AS-DCR-01", Run: registrationTakesJSON, Twins: twins(
		dropHeader("/register", "Cache-Control"), status("/register", 201, 200), setMember("/register", "client_id", "the-same"),
		header("/register", func(h http.Header) { h.Set("Content-Type", "application/json") }))},
	{IDs: "AS-DCR-02", Run: registrationReturnsAll, Twins: twins(
		dropMember("/register", "token_endpoint_auth_method"), setMember("/register", "client_id_issued_at", "today"))},
	{IDs: "AS-DCR-03", Run: secretsForConfidentialClientsOnly, Twins: twins(
		setMember("/register", "client_secret", "short"), dropMember("/register", "client_secret_expires_at"))},
	{IDs: "AS-DCR-04", Run: registrationDefaults, Twins: twins(dropMember("/register", "response_types"), setMember("/register", "grant_types", []string{"implicit"}))},
	{IDs: "AS-DCR-05", Run: grantsAreConsistent, Twins: twins(members("/register", func(m map[string]any) { m["grant_types"] = []string{"authorization_code", "implicit"} }))},
	{IDs: "AS-DCR-06", Run: unknownMembersAreIgnored, Twins: twins(replies("/register", func(r *http.Request, a *reply) {
		if body, _ := io.ReadAll(r.Body); strings.Contains(string(body), "favourite_colour") {
			a.Status, a.Body = 400, `{"error":"invalid_client_metadata"}`
		}
	}))},
	{IDs: "AS-DCR-07", Run: redirectURIsAreValidated, Twins: twins(
		jsonData("/register", func(m map[string]any) { m["redirect_uris"] = []string{callback} }))},
	{IDs: "AS-DCR-08 ATK-11", Run: dangerousSchemesAreRefused, Twins: twins(
		answers("/register", 400, 201, `{"client_id":"x"}`))},
	{IDs: "AS-DCR-09", Run: mixedListsAreReduced, Twins: twins(
		replies("/register", func(r *http.Request, a *reply) {
			if strings.Contains(a.Body, "good.example") {
				a.Status, a.Body = 400, `{"error":"invalid_redirect_uri"}`
			}
		}),
		members("/register", func(m map[string]any) {
			m["redirect_uris"] = append(m["redirect_uris"].([]any), "http://bad.example/cb")
		}))},
	{IDs: "AS-DCR-10", Run: applicationTypeIsEchoed, Twins: twins(dropMember("/register", "application_type"))},
	{IDs: "AS-DCR-12", Run: registrationErrors, Twins: twins(
		replaceBody("/register", "invalid_redirect_uri", "invalid_request"), setMember("/register", "software_statement", "x"))},
	{IDs: "AS-DCR-13", Run: noManagementAPI, Twins: twins(setMember("/register", "registration_access_token", "x"),
		answers("/register/*", 404, 200, "{}"))},
	{IDs: "AS-DCR-14", Run: registrationIsBounded, Twins: twins(status("/register", 413, 201), status("/register", 400, 201), status("/register", 429, 201))},
	{IDs: "AS-DCR-15", Run: registrationSurvivesRestart, Twins: twins(configTwin("seedFiles: [seed]", "seedFiles: [other]"))},
	{IDs: "AS-DCR-16", Run: unknownClientAtToken, Twins: twins(replaceBody("/token", "invalid_client", "invalid_grant"), status("/token", 401, 400))},
	{IDs: "AS-DCR-17", Run: clientBelongsToHost, Twins: twins(
		requests("/authorize", func(r *http.Request) { r.Host = hostMCP }), requests("/token", func(r *http.Request) { r.Host = hostMCP }))},
	{IDs: "ATK-39", Run: jsonTricks, Twins: twins(answers("/register", 400, 201, `{"client_id":"x"}`))},
	{IDs: "ATK-48", Run: floodOfRegistrations, Twins: twins(setMember("/register", "client_id", "chosen-by-client"))},
	{IDs: "AS-CIMD-01", Run: generatedIDsAreNoURLs, Twins: twins(setMember("/register", "client_id", "https://"+hostMCP+"/client/1"))},
}

func registrationTakesJSON(t *T) {
	w := t.World()
	ids := map[string]bool{}
	for range 3 {
		a := w.postJSON(issuerMCP+"/register", metadata())
		t.Want(a.Status == 201, "%d %s", a.Status, a.Body)
		t.Want(a.Header.Get("Cache-Control") == "no-store", "Cache-Control %q", a.Header.Get("Cache-Control"))
		t.Want(a.Header.Get("Content-Type") == "application/json", "Content-Type %q", a.Header.Get("Content-Type"))
		t.Want(a.Text("client_id") != "" && !ids[a.Text("client_id")], "client_id %q is not unique", a.Text("client_id"))
		ids[a.Text("client_id")] = true
	}
	raw, _ := json.Marshal(metadata())
	for _, media := range []string{"text/plain", "application/x-www-form-urlencoded", "application/jsonx"} {
		a := w.do("POST", issuerMCP+"/register", string(raw), "Content-Type", media)
		t.Want(a.Status == 400 || a.Status == 415, "media type %s: %d", media, a.Status)
	}
	t.Want(w.get(issuerMCP+"/register").Status == 405, "GET is not 405")
}

func registrationReturnsAll(t *T) {
	m := t.World().postJSON(issuerMCP+"/register", changed(metadata(), "scope", "notes:read")).JSON()
	for _, name := range []string{"client_id", "client_id_issued_at", "redirect_uris", "client_name", "token_endpoint_auth_method", "grant_types", "response_types", "scope"} {
		t.Want(m[name] != nil, "%s is missing", name)
	}
	n, ok := m["client_id_issued_at"].(float64)
	t.Want(ok && n == float64(int64(n)) && n > 1.7e9, "client_id_issued_at %v", m["client_id_issued_at"])
}

func secretsForConfidentialClientsOnly(t *T) {
	w := t.World()
	m := w.postJSON(issuerMCP+"/register", metadata()).JSON()
	t.Want(m["client_secret"] == nil && m["client_secret_expires_at"] == nil, "a public client got a secret")
	secrets := map[string]bool{}
	for _, method := range []string{"client_secret_basic", "client_secret_post"} {
		m := w.postJSON(issuerMCP+"/register", changed(metadata(), "token_endpoint_auth_method", method)).JSON()
		secret, _ := m["client_secret"].(string)
		raw, err := base64.RawURLEncoding.DecodeString(secret)
		t.Want(err == nil && len(raw) >= 16 && !secrets[secret], "%s: secret of %d bytes", method, len(raw))
		t.Want(m["client_secret_expires_at"] != nil, "%s: no client_secret_expires_at", method)
		secrets[secret] = true
	}
}

func registrationDefaults(t *T) {
	m := t.World().postJSON(issuerMCP+"/register", map[string]any{"redirect_uris": []string{callback}}).JSON()
	t.Want(m["token_endpoint_auth_method"] != nil, "no token_endpoint_auth_method")
	t.Want(slices.Contains(list(m["grant_types"]), "authorization_code"), "grant_types %v", m["grant_types"])
	t.Want(sameList(m["response_types"], "code"), "response_types %v", m["response_types"])
	method, _ := m["token_endpoint_auth_method"].(string)
	t.Want((method == "none") == (m["client_secret"] == nil), "method %s and secret disagree", method)
}

func grantsAreConsistent(t *T) {
	w := t.World()
	a := w.postJSON(issuerMCP+"/register", changed(metadata(), "grant_types", []string{"authorization_code", "implicit", "password", "urn:ietf:params:oauth:grant-type:device_code"}))
	if a.Status == 201 {
		for _, g := range list(a.JSON()["grant_types"]) {
			t.Want(g == "authorization_code" || g == "refresh_token", "granted %s", g)
		}
	}
	a = w.postJSON(issuerMCP+"/register", changed(metadata(), "grant_types", []string{"implicit"}, "response_types", []string{"token"}))
	t.Want(a.Status == 400, "an implicit-only client: %d", a.Status)
}

func unknownMembersAreIgnored(t *T) {
	m := changed(metadata(), "client_name#de", "Der Klient", "favourite_colour", "blue", "software_id", "x", "contacts", []string{"a@b.example"}, "tos_uri", "https://a.example")
	a := t.World().postJSON(issuerMCP+"/register", m)
	t.Want(a.Status == 201, "%d %s", a.Status, a.Body)
}

func redirectURIsAreValidated(t *T) {
	w := t.World()
	for _, bad := range []any{nil, []string{}, "https://a.example/cb", []string{"http://example.com/cb"}, []string{"//x"}, []string{"cb"}, []string{"https://a.example/cb#"}, []string{"https://a.example/cb#f"}, []string{""}, []any{1}} {
		a := w.postJSON(issuerMCP+"/register", changed(metadata(), "redirect_uris", bad))
		t.Want(a.Status == 400, "%v: %d", bad, a.Status)
	}
	for _, good := range []string{callback, "http://127.0.0.1/cb", "http://[::1]:1234/cb", "http://localhost:8787/callback", "cursor://anysphere.cursor-mcp/oauth/callback", "com.example.app:/cb"} {
		a := w.postJSON(issuerMCP+"/register", metadata(good))
		t.Want(a.Status == 201, "%s: %d %s", good, a.Status, a.Body)
	}
}

func dangerousSchemesAreRefused(t *T) {
	w := t.World()
	for _, uri := range dangerousURIs {
		a := w.postJSON(issuerMCP+"/register", metadata(uri))
		t.Want(a.Status == 400 && a.Text("error") == "invalid_redirect_uri", "%q registered: %d", uri, a.Status)
	}
	// One that was not registered never becomes a Location or a link either.
	c := w.register(hostMCP, nil)
	for _, uri := range dangerousURIs {
		a := w.get(c.request(with("redirect_uri", uri)))
		a.LocalError(uri)
		for _, link := range links(a) {
			t.Want(strings.HasPrefix(link, "https://"), "%q became a link: %s", uri, link)
		}
	}
	for _, pattern := range []string{"javascript:.*", "data:.*", ".*"} {
		strict := t.World(configured("proxy:\n", "proxy:\n  allowedRedirectURLs: ['"+pattern+"']\n"))
		a := strict.postJSON(issuerMCP+"/register", metadata("javascript:alert(1)"))
		t.Want(a.Status == 400, "the operator's pattern %s admits javascript:", pattern)
	}
}

func mixedListsAreReduced(t *T) {
	w := t.World()
	a := w.postJSON(issuerMCP+"/register", metadata("http://bad.example/cb", "https://good.example/cb", "javascript:x"))
	t.Want(a.Status == 201, "%d %s", a.Status, a.Body)
	if a.Status == 201 {
		t.Want(sameList(a.JSON()["redirect_uris"], "https://good.example/cb"), "redirect_uris %v", a.JSON()["redirect_uris"])
	}
}

func applicationTypeIsEchoed(t *T) {
	w := t.World()
	for _, kind := range []string{"web", "native"} {
		a := w.postJSON(issuerMCP+"/register", changed(metadata(), "application_type", kind))
		t.Want(a.Status == 201 && a.Text("application_type") == kind, "%s: %d %s", kind, a.Status, a.Body)
	}
	a := w.postJSON(issuerMCP+"/register", changed(metadata("http://localhost:1234/cb"), "application_type", "web"))
	t.Want(a.Status == 400 || a.Text("application_type") != "", "a web client on localhost: %d %s", a.Status, a.Body)
}

func registrationErrors(t *T) {
	w := t.World()
	w.postJSON(issuerMCP+"/register", metadata("http://bad.example/cb")).Refused(400, "invalid_redirect_uri")
	w.postJSON(issuerMCP+"/register", changed(metadata(), "token_endpoint_auth_method", "tls_client_auth")).Refused(400, "invalid_client_metadata")
	w.postJSON(issuerMCP+"/register", `{"redirect_uris": [`).Refused(400, "invalid_client_metadata")
	// A software statement is ignored, whatever it claims.
	statement := "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString([]byte(`{"client_name":"From the statement","redirect_uris":["https://evil.example/cb"]}`)) + "."
	a := w.postJSON(issuerMCP+"/register", changed(metadata(), "software_statement", statement))
	t.Want(a.Status == 201 && a.Text("client_name") == "Conformance client" && a.JSON()["software_statement"] == nil, "software statement: %d %s", a.Status, a.Body)
}

func noManagementAPI(t *T) {
	w := t.World()
	m := w.postJSON(issuerMCP+"/register", metadata()).JSON()
	t.Want(m["registration_access_token"] == nil && m["registration_client_uri"] == nil, "management members in %v", m)
	id, _ := m["client_id"].(string)
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		a := w.do(method, issuerMCP+"/register/"+id, "", "Authorization", "Bearer x")
		t.Want(a.Status == 404 || a.Status == 405, "%s: %d", method, a.Status)
	}
}

func registrationIsBounded(t *T) {
	w := t.World()
	a := w.postJSON(issuerMCP+"/register", changed(metadata(), "padding", strings.Repeat("x", 17<<10)))
	t.Want(a.Status == 413 || a.Status == 400, "body of 17 KiB: %d", a.Status)
	var many []string
	for i := range 21 {
		many = append(many, "https://a.example/"+string(rune('a'+i)))
	}
	t.Want(w.postJSON(issuerMCP+"/register", metadata(many...)).Status == 400, "21 redirect URIs were accepted")
	a = w.postJSON(issuerMCP+"/register", changed(metadata(), "client_name", strings.Repeat("n", 5000)))
	if a.Status == 201 {
		t.Want(len(a.Text("client_name")) <= 200, "a name of %d bytes", len(a.Text("client_name")))
	}
	w = t.World(own, configured("registrations: 0", "registrations: 5"))
	for range 6 {
		a = w.postJSON(issuerMCP+"/register", metadata())
	}
	t.Want(a.Status == 429 && a.Header.Get("Retry-After") != "", "a flood: %d, Retry-After %q", a.Status, a.Header.Get("Retry-After"))
}

func registrationSurvivesRestart(t *T) {
	before := t.World(own)
	c := before.register(hostMCP, changed(metadata(), "token_endpoint_auth_method", "client_secret_post"))
	after := t.suite.restart(t)
	c.w = after
	code := c.code()
	a := c.exchange(code)
	t.Want(a.Status == 200, "after a restart: %d %s", a.Status, a.Body)
}

// restart is another process with the original configuration, which has the same seed.
func (s *suite) restart(t *T) *world {
	plain := *t
	plain.twin.Config = nil
	plain.faults = nil
	w := plain.World(own)
	w.t = t
	return w
}

func unknownClientAtToken(t *T) {
	w := t.World()
	for _, id := range []string{"unknown", "dcr1.AAAA", "dcr1." + strings.Repeat("A", 200)} {
		w.form(issuerMCP+"/token", url.Values{"grant_type": {"authorization_code"}, "code": {"x"}, "client_id": {id}, "code_verifier": {verifier}}).Refused(401, "invalid_client")
	}
}

func clientBelongsToHost(t *T) {
	w := t.World()
	c := w.register(hostMCP, nil)
	c.host = hostRoot
	w.get(c.request()).LocalError("authorize at another host")
	c.exchange("x").Refused(401, "invalid_client")
}

func jsonTricks(t *T) {
	w := t.World()
	for what, body := range map[string]string{
		"repeated member": `{"redirect_uris":["https://a.example/cb"],"redirect_uris":["https://evil.example/cb"]}`,
		"other case":      `{"Redirect_URIs":["https://evil.example/cb"]}`,
		"trailing data":   `{"redirect_uris":["https://a.example/cb"]} {}`,
		"array":           `[]`, "null": `null`, "NaN": `{"redirect_uris":NaN}`,
		"BOM":       "\ufeff" + `{"redirect_uris":["https://a.example/cb"]}`,
		"deep nest": `{"redirect_uris":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `}`,
	} {
		a := w.postJSON(issuerMCP+"/register", body)
		t.Want(a.Status == 400, "%s: %d %s", what, a.Status, a.Body)
	}
	a := w.postJSON(issuerMCP+"/register", `{"redirect_uris":["https://a.example/cb"],"Redirect_URIs":["https://evil.example/cb"]}`)
	t.Want(a.Status == 400 || !strings.Contains(a.Body, "evil"), "the other case won: %s", a.Body)
}

func floodOfRegistrations(t *T) {
	w := t.World()
	a := w.postJSON(issuerMCP+"/register", changed(metadata(), "client_id", "chosen-by-client"))
	t.Want(a.Status == 400 || a.Text("client_id") != "chosen-by-client", "the client chose its id")
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	raw, _ := json.Marshal(metadata())
	post := func(n int) {
		for range n {
			w.postJSON(issuerMCP+"/register", string(raw))
		}
	}
	post(50)
	before := heap()
	post(1000)
	t.Want(heap() < before+4<<20, "1000 registrations hold memory")
}

func generatedIDsAreNoURLs(t *T) {
	w := t.World()
	for range 3 {
		id := w.postJSON(issuerMCP+"/register", metadata()).Text("client_id")
		t.Want(id != "" && !strings.Contains(id, ":"), "generated id %q", id)
	}
}
