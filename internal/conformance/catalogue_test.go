package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/catalog"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/sample"
)

var catalogueChecks = []Check{
	{IDs: "UP-01", Run: modernListRequest, Twins: twins(toMCP(func(r *http.Request) { r.Header.Del("Mcp-Method") }), toMCP(func(r *http.Request) { r.Header.Set("Accept", "application/json") }))},
	{IDs: "UP-02", Run: erasAreDetected, Twins: twins(Twin{MCP: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("MCP-Protocol-Version") != "2026-07-28" {
				w.WriteHeader(400) // as if the older handshake had not been tried
				return
			}
			next.ServeHTTP(w, r)
		})
	}})},
	{IDs: "UP-03", Run: legacyHandshake, Twins: twins(toMCP(func(r *http.Request) { r.Header.Del("MCP-Session-Id") }))},
	{IDs: "UP-04", Run: answersInBothForms, Twins: twins(fromMCP(func(a *reply) {
		if strings.HasPrefix(a.Header.Get("Content-Type"), "text/event-stream") {
			a.Header.Set("Content-Type", "text/plain")
		}
	}), fromMCP(func(a *reply) { a.Body = strings.ReplaceAll(a.Body, "input_required", "complete") }))},
	{IDs: "UP-05", Run: pagesAreFollowed, Twins: twins(fromMCP(func(a *reply) { a.Body = strings.ReplaceAll(a.Body, "nextCursor", "ignored") }))},
	{IDs: "UP-06", Run: freshnessHintIsHeard, Twins: twins(Twin{Flaw: true})},
	{IDs: "UP-07 UP-08 UP-11", Run: oneViewpointWithoutCredential, Twins: twins(toMCP(func(r *http.Request) { r.Header.Set("Authorization", "Bearer of-the-client") }))},
	{IDs: "UP-09", Run: scopeEntriesAreValidated, Twins: twins(fromMCP(func(a *reply) { a.Body = strings.ReplaceAll(a.Body, "bad scope", "bad_scope") }))},
	{IDs: "UP-10", Run: referencesAreNotFollowed, Twins: twins(Twin{MCP: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/schema.json", nil))
			next.ServeHTTP(w, r)
		})
	}})},
	{IDs: "UP-12 ATK-46", Run: onlyTheEndpointIsAsked, Twins: twins(Twin{MCP: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			if rec.Header().Get("Location") != "" {
				next.ServeHTTP(w, httptest.NewRequest("GET", "/elsewhere", nil))
				return
			}
			w.WriteHeader(rec.Code)
		})
	}})},
	{IDs: "UP-13", Run: eraIsRemembered, Twins: twins(Twin{Flaw: true})},
	{IDs: "ATK-59", Run: approvalIsOfWhatWasShown, Twins: twins(replaceBody("/token", "notes:read", "notes:read notes:write"))},
	{IDs: "AS-CONS-17", Run: grownScopeAsksAgain, Twins: twins(replaceBody("/token", `"scope":"notes:read"`, `"scope":"notes:read notes:write"`))},
	{IDs: "ATK-61", Run: poisonedCatalogue, Twins: twins(status("/authorize", 200, 500), replaceBody("/authorize", "<body>", "<body>"+strings.Repeat("x", 3<<20)))},
}

// toMCP changes what the service asks, fromMCP what it is answered.
func toMCP(change func(*http.Request)) Twin {
	return Twin{MCP: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			change(r)
			next.ServeHTTP(w, r)
		})
	}}
}

func fromMCP(change func(*reply)) Twin {
	return Twin{MCP: func(next http.Handler) http.Handler {
		return changeReplies("*", func(_ *http.Request, a *reply) { change(a) }, next)
	}}
}

func scopeEntry(name, description string, tools ...string) map[string]any {
	return map[string]any{"name": name, "description": description, "tools": tools}
}

// tools makes entries of a tools/list.
func tools(names ...string) []any {
	out := []any{}
	for _, n := range names {
		out = append(out, map[string]any{"name": n, "inputSchema": map[string]any{"type": "object"}})
	}
	return out
}

// list is a tools/list result of the modern revision.
func listResult(scopes []any, tools []any, kv ...any) map[string]any {
	m := map[string]any{"resultType": "complete", "ttlMs": 0, "cacheScope": "public", "tools": tools, "_meta": map[string]any{"scopes": scopes}}
	return changed(m, kv...)
}

// scripted is an MCP server of the modern revision that answers tools/list as told.
func scripted(answer func(cursor string, r *http.Request) map[string]any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var msg struct {
			ID     any    `json:"id"`
			Method string `json:"method"`
			Params struct {
				Cursor string `json:"cursor"`
			} `json:"params"`
		}
		raw, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(raw, &msg)
		var result map[string]any
		switch msg.Method {
		case "server/discover":
			result = map[string]any{"resultType": "complete", "ttlMs": 0, "cacheScope": "public", "supportedVersions": []string{"2026-07-28"}, "capabilities": map[string]any{"tools": map[string]any{}},
				"_meta": map[string]any{"io.modelcontextprotocol/serverInfo": map[string]any{"name": "scripted", "version": "1"}}}
		case "tools/list":
			result = answer(msg.Params.Cursor, r)
		default:
			w.WriteHeader(404)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0", "id": msg.ID, "result": result})
	}
}

// scopesServer is an MCP server that declares these scopes.
func scopesServer(entries ...map[string]any) http.Handler {
	var scopes []any
	for _, e := range entries {
		scopes = append(scopes, e)
	}
	return scripted(func(string, *http.Request) map[string]any { return listResult(scopes, tools("tool", "other")) })
}

// offered are the scopes of the consent page of a server, ticked or not.
func offered(w *world) []string {
	page, _ := w.browser().consent(w.register(hostMCP, nil).request())
	return scopeBoxes(page)
}

var sampleScopes = []string{"notes:read", "notes:write", "weather:read", "profile"}

func modernListRequest(t *T) {
	w := t.World(own)
	offered(w)
	seen, bodies := w.mcp.since(0)
	listed := false
	for i, r := range seen {
		if !strings.Contains(bodies[i], `"tools/list"`) {
			continue
		}
		listed = true
		t.Want(r.Method == "POST" && r.Header.Get("MCP-Protocol-Version") == "2026-07-28" && r.Header.Get("Mcp-Method") == "tools/list", "%s with %v", r.Method, r.Header)
		accept := r.Header.Get("Accept")
		t.Want(strings.Contains(accept, "application/json") && strings.Contains(accept, "text/event-stream"), "Accept %q", accept)
		for _, key := range []string{"protocolVersion", "clientCapabilities", "clientInfo"} {
			t.Want(strings.Contains(bodies[i], `"io.modelcontextprotocol/`+key+`"`), "_meta lacks %s", key)
		}
	}
	t.Want(listed, "tools/list was never asked")
}

// legacyServer speaks one older revision and refuses what it does not know.
func legacyServer(version string, refusal int) http.HandlerFunc {
	const session = "session-1"
	return func(w http.ResponseWriter, r *http.Request) {
		var msg struct {
			ID     any    `json:"id"`
			Method string `json:"method"`
		}
		raw, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(raw, &msg)
		reply := func(result any) {
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(map[string]any{"jsonrpc": "2.0", "id": msg.ID, "result": result})
		}
		switch {
		case r.Method == http.MethodDelete:
			w.WriteHeader(405)
		case msg.Method == "initialize":
			w.Header().Set("MCP-Session-Id", session)
			reply(map[string]any{"protocolVersion": version, "capabilities": map[string]any{"tools": map[string]any{}}, "serverInfo": map[string]any{"name": "old", "version": "1"}})
		case r.Header.Get("MCP-Session-Id") != session:
			w.WriteHeader(refusal)
		case msg.Method == "notifications/initialized":
			w.WriteHeader(202)
		case msg.Method == "tools/list":
			reply(map[string]any{"tools": tools("tool"), "_meta": map[string]any{"scopes": []any{scopeEntry("old:scope", "of an older server", "tool")}}})
		default:
			w.WriteHeader(refusal)
		}
	}
}

func erasAreDetected(t *T) {
	t.Want(slices.Equal(offered(t.World(own)), sampleScopes), "a modern server")
	stateful := t.World(withMCP(http.StripPrefix("/mcp", sample.Handler(sample.Options{JSON: true}))))
	t.Want(slices.Equal(offered(stateful), sampleScopes), "a server with sessions")
	for _, refusal := range []int{400, 404} {
		got := offered(t.World(withMCP(legacyServer("2025-06-18", refusal))))
		t.Want(slices.Equal(got, []string{"old:scope"}), "an older server that refuses with %d: %v", refusal, got)
	}
}

func legacyHandshake(t *T) {
	for _, version := range []string{"2025-03-26", "2025-06-18", "2025-11-25"} {
		w := t.World(withMCP(legacyServer(version, 400)))
		got := offered(w)
		t.Want(slices.Equal(got, []string{"old:scope"}), "%s: offered %v", version, got)
		seen, bodies := w.mcp.since(0)
		var order []string
		for i, r := range seen {
			for _, method := range []string{"initialize", "notifications/initialized", "tools/list"} {
				if !strings.Contains(bodies[i], `"method":"`+method+`"`) || r.Header.Get("MCP-Protocol-Version") == "2026-07-28" {
					continue
				}
				order = append(order, method)
				if method == "initialize" {
					continue
				}
				t.Want(r.Header.Get("MCP-Session-Id") == "session-1", "%s: %s without the session", version, method)
				t.Want(version < "2025-06-18" || r.Header.Get("MCP-Protocol-Version") == version, "%s: %s says revision %q", version, method, r.Header.Get("MCP-Protocol-Version"))
			}
		}
		t.Want(slices.Equal(order, []string{"initialize", "notifications/initialized", "tools/list"}), "%s: %v", version, order)
	}
}

func answersInBothForms(t *T) {
	for _, asJSON := range []bool{true, false} {
		got := offered(t.World(withMCP(http.StripPrefix("/mcp", sample.Handler(sample.Options{Stateless: true, JSON: asJSON})))))
		t.Want(slices.Equal(got, sampleScopes), "JSON %v: %v", asJSON, got)
	}
	for resultType, want := range map[any]string{nil: "x:y", "complete": "x:y", "input_required": "mcp", "unheard-of": "mcp"} {
		w := t.World(withMCP(scripted(func(string, *http.Request) map[string]any {
			return listResult([]any{scopeEntry("x:y", "", "tool")}, tools("tool"), "resultType", resultType)
		})))
		got := offered(w)
		t.Want(slices.Equal(got, []string{want}), "resultType %v: %v", resultType, got)
	}
}

func pagesAreFollowed(t *T) {
	pages := func(next func(cursor string) any) *world {
		return t.World(withMCP(scripted(func(cursor string, _ *http.Request) map[string]any {
			n := "0" + cursor
			return listResult([]any{scopeEntry("page:"+n, "", "tool"+n)}, tools("tool"+n), "nextCursor", next(cursor))
		})))
	}
	got := offered(pages(func(c string) any {
		if len(c) >= 3 {
			return nil
		}
		return c + "1"
	}))
	t.Want(slices.Equal(got, []string{"page:0", "page:01", "page:011", "page:0111"}), "four pages: %v", got)
	got = offered(pages(func(string) any { return "again" }))
	t.Want(slices.Equal(got, []string{"mcp"}), "a repeated cursor: %v", got)
	endless := pages(func(c string) any { return c + "1" })
	got = offered(endless)
	t.Want(slices.Equal(got, []string{"mcp"}) && endless.mcp.count() < 150, "endless pages: %v after %d requests", got, endless.mcp.count())
}

// fetchesIn counts the fetches of a running cache within d, for a server that
// asks to be left alone for ttl.
func fetchesIn(t *T, d, ttl time.Duration) int {
	tb, ok := t.TB.(*testing.T)
	if !ok {
		t.Setupf("needs a *testing.T")
	}
	var mu sync.Mutex
	n := 0
	synctest.Test(tb, func(*testing.T) {
		cache := catalog.New(catalog.Options{Targets: []catalog.Target{{Key: "k", Endpoint: "e"}}, Now: time.Now, Fetch: func(context.Context, string) (*catalog.Catalogue, error) {
			mu.Lock()
			n++
			mu.Unlock()
			return &catalog.Catalogue{TTL: ttl}, nil
		}})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); cache.Run(ctx) }()
		time.Sleep(d)
		cancel()
		<-done
	})
	return n
}

func freshnessHintIsHeard(t *T) {
	long := 30 * time.Minute
	if t.twin.Flaw {
		long = 0
	}
	silent, patient, eternal, hasty := fetchesIn(t, 2*time.Hour, 0), fetchesIn(t, 2*time.Hour, long), fetchesIn(t, 48*time.Hour, 1000*time.Hour), fetchesIn(t, 2*time.Hour, time.Millisecond)
	t.Want(patient < silent/2, "a hint of %v: %d fetches, without one %d", long, patient, silent)
	t.Want(eternal >= 24, "a hint of 1000 hours: %d fetches in two days", eternal)
	t.Want(hasty <= silent+2, "a hint of a millisecond: %d fetches, without one %d", hasty, silent)
}

func oneViewpointWithoutCredential(t *T) {
	w := t.World(withMCP(scripted(func(_ string, r *http.Request) map[string]any {
		if r.Header.Get("Authorization") != "" {
			return listResult([]any{scopeEntry("admin:all", "", "tool")}, tools("tool"), "cacheScope", "private")
		}
		return listResult([]any{scopeEntry("public:read", "", "tool")}, tools("tool"), "cacheScope", "private")
	})))
	c := w.register(hostMCP, nil)
	b := w.browser()
	page := b.get(c.request(), "Authorization", "Bearer of-the-client", "Cookie", "session=of-the-user")
	t.Want(slices.Equal(consentForm(page)["scope"], []string{"public:read"}), "offered %v", consentForm(page)["scope"])
	token := w.newToken(hostRoot, issuerRoot)
	_ = w.ask(issuerRoot+"/", token)
	seen, bodies := w.mcp.since(0)
	for i, r := range seen {
		for _, name := range []string{"Authorization", "Cookie", "DPoP", "X-Auth-Request-User"} {
			t.Want(r.Header.Get(name) == "", "the list is asked with %s", name)
		}
		t.Want(!strings.Contains(bodies[i], "of-the-client"), "the client's token is in the request")
	}
}

func scopeEntriesAreValidated(t *T) {
	w := t.World(withMCP(scopesServer(
		scopeEntry("good:scope", "Good", "tool"), scopeEntry("bad scope", "has a blank", "tool"), scopeEntry(`quo"te`, "", "tool"), scopeEntry("", "no name", "tool"),
		scopeEntry("offline_access", "reserved", "tool"), scopeEntry("openid", "reserved", "tool"), scopeEntry(strings.Repeat("x", 500), "too long", "tool"),
		map[string]any{"name": 1}, map[string]any{"name": "bad:description", "description": 5}, map[string]any{"name": "bad:tools", "tools": "tool"},
		scopeEntry("other:scope", strings.Repeat("long ", 1000), "other", "no-such-tool"), scopeEntry("good:scope", "a second description", "other"),
	)))
	page, _ := w.browser().consent(w.register(hostMCP, nil).request())
	got := consentForm(page)["scope"]
	t.Want(slices.Equal(got, []string{"good:scope", "other:scope"}), "offered %v", got)
	t.Want(!strings.Contains(page.Body, "a second description") && !strings.Contains(page.Body, "no-such-tool"), "a later entry restates an earlier one")
	t.Want(strings.Count(page.Body, "long ") < 200, "a description is not cut")
	missing := offered(t.World(withMCP(scripted(func(string, *http.Request) map[string]any {
		return listResult(nil, tools("tool"), "_meta", map[string]any{})
	}))))
	t.Want(slices.Equal(missing, []string{"mcp"}), "a server that declares nothing: %v", missing)
}

func referencesAreNotFollowed(t *T) {
	var base string
	w := t.World(withMCP(scripted(func(string, *http.Request) map[string]any {
		schema := map[string]any{"$ref": base + "/schema.json", "$schema": base + "/schema.json", "type": "object"}
		return listResult([]any{scopeEntry("x:y", "", "tool")}, []any{map[string]any{"name": "tool", "inputSchema": schema, "description": "Always safe", "annotations": map[string]any{"readOnlyHint": true}, "icons": []any{map[string]any{"src": base + "/icon.png"}}}})
	})))
	base = w.mcp.URL
	offered(w)
	seen, _ := w.mcp.since(0)
	for _, r := range seen {
		t.Want(r.URL.Path == "/mcp", "%s was asked", r.URL.Path)
	}
	t.Want(w.web.dials() == 0, "something else was asked")
}

func onlyTheEndpointIsAsked(t *T) {
	var w *world
	w = t.World(withMCP(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, w.mcp.URL+"/elsewhere", http.StatusTemporaryRedirect)
	})))
	c := w.register(hostMCP, nil)
	a := w.get(c.request())
	t.Want(a.Status == 200 && slices.Equal(consentForm(a)["scope"], []string{"mcp"}), "a redirect: %d %v", a.Status, consentForm(a)["scope"])
	seen, _ := w.mcp.since(0)
	for _, r := range seen {
		t.Want(r.URL.Path == "/mcp", "the redirect was followed to %s", r.URL.Path)
	}
	if len(t.faults) > 0 {
		return
	}
	// One that never answers costs a sign-in a bounded time, and one fetch.
	stop := make(chan struct{})
	t.TB.Cleanup(func() { close(stop) })
	slow := t.World(withMCP(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	})))
	c = slow.register(hostMCP, nil)
	began := time.Now()
	var wait sync.WaitGroup
	for range 10 {
		wait.Go(func() {
			if resp, err := slow.client.Get(c.request()); err == nil {
				resp.Body.Close()
			}
		})
	}
	wait.Wait()
	t.Want(time.Since(began) < 10*time.Second, "a hanging server costs %v", time.Since(began))
	t.Want(slow.mcp.count() <= 2, "ten sign-ins caused %d requests", slow.mcp.count())
	refuses := t.World(withMCP(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) })))
	t.Want(slices.Equal(offered(refuses), []string{"mcp"}), "a server that wants a credential")
}

func eraIsRemembered(t *T) {
	var mu sync.Mutex
	probes := 0
	legacy := legacyServer("2025-06-18", 400)
	upgraded := http.StripPrefix("/mcp", sample.Handler(sample.Options{Stateless: true, JSON: true}))
	isNew := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if r.Header.Get("MCP-Protocol-Version") == "2026-07-28" {
			probes++
		}
		now := isNew
		mu.Unlock()
		if now {
			upgraded.ServeHTTP(w, r)
			return
		}
		legacy(w, r)
	}))
	t.TB.Cleanup(server.Close)
	clock := &clock{}
	fetcher := &catalog.Fetcher{Now: clock.Now}
	fetch := func() []string {
		if t.twin.Flaw {
			fetcher = &catalog.Fetcher{Now: clock.Now}
		}
		c, err := fetcher.Fetch(t.TB.Context(), server.URL+"/mcp")
		if err != nil {
			t.Setupf("%v", err)
		}
		return c.ScopeNames()
	}
	for range 4 {
		t.Want(slices.Equal(fetch(), []string{"old:scope"}), "an older server")
	}
	t.Want(probes <= 2, "four fetches asked in the modern era %d times", probes)
	if len(t.faults) > 0 {
		return
	}
	mu.Lock()
	isNew = true
	mu.Unlock()
	clock.Move(2 * time.Hour)
	before := probes
	t.Want(slices.Equal(fetch(), sampleScopes) && probes > before, "the upgrade is not noticed")
}

func approvalIsOfWhatWasShown(t *T) {
	var mu sync.Mutex
	grown := false
	w := t.World(withMCP(scripted(func(string, *http.Request) map[string]any {
		mu.Lock()
		defer mu.Unlock()
		scopes := []any{scopeEntry("notes:read", "", "tool")}
		if grown {
			scopes = append(scopes, scopeEntry("notes:write", "", "other"))
		}
		return listResult(scopes, tools("tool", "other"))
	})))
	name, redirect := "Document client", callback
	_, c := w.tryDocument(func(id string) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			serves(document(id, "client_name", name, "redirect_uris", []string{redirect}), "Cache-Control", "no-store")(rw, r)
		}
	})
	b := w.browser()
	_, form := b.consent(c.request())
	mu.Lock()
	grown, redirect = true, "https://evil.example/cb"
	mu.Unlock()
	form.Add("scope", "notes:write")
	to := b.get(b.provider(b.approve(hostMCP, form).Header.Get("Location"))).Header.Get("Location")
	t.Want(strings.HasPrefix(to, callback+"?"), "the code goes to %.60s", to)
	mu.Lock()
	redirect = callback
	mu.Unlock()
	_, query, _ := strings.Cut(to, "?code=")
	code, _, _ := strings.Cut(query, "&")
	a := c.exchange(code)
	t.Want(a.Status == 200 && a.Text("scope") == "notes:read", "granted %d %s", a.Status, a.Body)
}

func grownScopeAsksAgain(t *T) {
	reads := scopeEntry("notes:read", "", "tool")
	w := t.World(withMCP(scopesServer(reads, scopeEntry("notes:write", "", "tool"))))
	c := w.register(hostMCP, nil)
	_, token := c.pair()
	// The same service later, when the MCP server has put a tool into a scope.
	c.w = t.World(withMCP(scopesServer(reads, scopeEntry("notes:write", "", "tool", "other"))), configured("$IDP", w.idp.Issuer))
	c.w.get(c.request()) // whatever asks for the catalogue first
	a := c.refresh(token)
	t.Want(a.Status == 200 && a.Text("scope") == "notes:read", "after the scope grew: %d %s", a.Status, a.Body)
	page, _ := c.w.browser().consent(c.request())
	t.Want(strings.Contains(page.Body, "other"), "the user is not shown the new tool")
}

func poisonedCatalogue(t *T) {
	bounded := func(what string, w *world) {
		a := w.get(w.register(hostMCP, nil).request())
		t.Want(a.Status == 200 && len(a.Body) < 2<<20, "%s: %d, %d bytes", what, a.Status, len(a.Body))
		t.Want(!strings.Contains(a.Body, "<script>") && !strings.Contains(a.Body, "\u202e"), "%s: markup or direction marks on the page", what)
	}
	var thousands []map[string]any
	for i := range 5000 {
		thousands = append(thousands, scopeEntry(fmt.Sprintf("s:%d", i), strings.Repeat("d", 1000), "tool"))
	}
	bounded("thousands of scopes", t.World(withMCP(scopesServer(thousands...))))
	bounded("markup", t.World(withMCP(scopesServer(scopeEntry("a:b", script+"\u202e", "tool")))))
	bounded("a deep answer", t.World(withMCP(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, strings.Repeat("[", 1<<20))
	}))))
	bounded("an endless answer", t.World(withMCP(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for r.Context().Err() == nil {
			if _, err := io.WriteString(w, strings.Repeat(" ", 64<<10)); err != nil {
				return
			}
		}
	}))))
	if len(t.faults) > 0 {
		return
	}
	// A text that calls a scope harmless makes it no less than it is.
	w := t.World(withMCP(scopesServer(scopeEntry("admin:all", "Only reads", "tool"), scopeEntry("notes:read", "Reads", "other"))))
	got := w.register(hostMCP, nil).tokens(with("scope", "notes:read")).Text("scope")
	t.Want(got == "notes:read", "granted %q", got)
}
