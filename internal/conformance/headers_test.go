package conformance

import (
	"crypto/rand"
	"net/http"
	"strings"
)

var headerChecks = []Check{
	{IDs: "RS-ERR-04", Run: stepUpNamesScopes, Twins: twins(replaceHeader("/authenticate*", "WWW-Authenticate", "insufficient_scope", "invalid_token"), replaceHeader("/authenticate*", "WWW-Authenticate", "notes:write", ""))},
	{IDs: "RS-ERR-05 ATK-63", Run: stepUpKeepsScopes, Twins: twins(replaceHeader("/authenticate*", "WWW-Authenticate", "weather:read ", ""), replies("/authenticate*", func(_ *http.Request, a *reply) {
		if v := a.Header.Get("WWW-Authenticate"); strings.Contains(v, "insufficient") {
			a.Header.Set("WWW-Authenticate", strings.Replace(v, `scope="`, `scope="`+rand.Text()+` `, 1))
		}
	}))},
	{IDs: "RS-ERR-06", Run: broadTokensPass, Twins: twins(status("/authenticate", 200, 403))},
	{IDs: "RS-ERR-10", Run: preflightsAreAnswered, Twins: twins(dropHeader("/authenticate*", "Access-Control-Expose-Headers"), status("/authenticate*", 200, 401))},
	{IDs: "RS-ERR-11", Run: foreignOriginsAreRefused, Twins: twins(header("/authenticate*", func(h http.Header) { h.Del("Origin") }))},
	{IDs: "RS-HDR-01 ATK-55", Run: oldRevisionsUnlockNothing, Twins: twins(header("/authenticate", func(h http.Header) { h.Set("MCP-Protocol-Version", "2026-07-28") }), header("/authenticate", func(h http.Header) {
		if h.Get("MCP-Protocol-Version") != "2026-07-28" {
			h.Set("Mcp-Method", "tools/list")
			h.Set("MCP-Protocol-Version", "2026-07-28")
			h.Del("Mcp-Name")
		}
	}))},
	{IDs: "RS-HDR-03", Run: valuesAreExact, Twins: twins(header("/authenticate*", func(h http.Header) {
		for _, name := range []string{"Mcp-Method", "Mcp-Name"} {
			if v := h.Values(name); len(v) > 0 {
				first, _, _ := strings.Cut(v[0], ",")
				h[http.CanonicalHeaderKey(name)] = []string{strings.ToLower(first)}
			}
		}
	}))},
	{IDs: "RS-HDR-04", Run: missingHeadersAreRefused, Twins: twins(header("/authenticate*", func(h http.Header) {
		if h.Get("Mcp-Method") == "" || h.Get("Mcp-Name") == "" {
			h.Set("Mcp-Method", "tools/list")
		}
	}))},
	{IDs: "RS-HDR-05", Run: encodedNamesAreDecoded, Twins: twins(header("/authenticate", func(h http.Header) {
		if strings.HasPrefix(h.Get("Mcp-Name"), "=?base64?") {
			h.Set("Mcp-Name", "notes_list")
		}
	}))},
	{IDs: "RS-HDR-06 ATK-56", Run: oddNamesAreRefused, Twins: twins(header("/authenticate*", func(h http.Header) { h["Mcp-Name"] = []string{"notes_list"} }))},
	{IDs: "RS-HDR-07", Run: operandsDoNotMix, Twins: twins(header("/authenticate", func(h http.Header) { h.Set("Mcp-Method", "tools/call") }))},
	{IDs: "RS-HDR-08", Run: parameterHeadersPass, Twins: twins(header("/authenticate", func(h http.Header) {
		if v := h.Get("Mcp-Param-Tool"); v != "" {
			h.Set("Mcp-Name", v)
		}
	}))},
	{IDs: "RS-HDR-09", Run: bodiesAgreeWithHeaders, Twins: twins(errorsBecomePasses("/authenticate/forwarded", 400, 403))},
	{IDs: "RS-HDR-10", Run: unknownRevisionsPass, Twins: twins(status("/authenticate", 200, 403))},
	{IDs: "RS-HDR-11", Run: unknownToolsAreClosed, Twins: twins(errorsBecomePasses("/authenticate", 403, 401))},
}

// holds is a token for these scopes, at hostMCP.
func (w *world) holds(scope string) string {
	return w.register(hostMCP, nil).token(with("scope", scope))
}

// call asks for one operation in the nginx dialect.
func (w *world) call(token, method, name string) *answer {
	return w.ask(resourceMCP, token, modern(method, name)...)
}

// forwarded asks in a dialect whose gateways keep every status and header.
func (w *world) forwarded(token string, header ...string) *answer {
	return w.get(issuerMCP+"/authenticate/forwarded", append([]string{"X-Forwarded-Host", hostMCP, "X-Forwarded-Uri", "/mcp", "X-Forwarded-Method", "POST", "Authorization", "Bearer " + token}, header...)...)
}

func stepUpNamesScopes(t *T) {
	w := t.World()
	token := w.holds("notes:read")
	t.Want(w.forwarded(token, modern("tools/call", "notes_list")...).Status == 200, "a covered tool is refused")
	a := w.forwarded(token, modern("tools/call", "notes_create")...)
	t.Want(a.Status == 403, "a tool that is not covered: %d", a.Status)
	if a.Status != 403 {
		return
	}
	c := a.challenge()
	t.Want(c.params["error"] == "insufficient_scope" && strings.Contains(c.params["scope"], "notes:write") && c.params["resource_metadata"] == issuerMCP+prm+"/mcp", "challenge %v", c.params)
	// nginx loses the header of a 403, so there it is a 401.
	a = w.call(token, "tools/call", "notes_create")
	t.Want(a.Status == 401 && strings.Contains(a.challenge().params["scope"], "notes:write"), "nginx: %d", a.Status)
}

func stepUpKeepsScopes(t *T) {
	w := t.World()
	token := w.holds("weather:read profile")
	scope := w.forwarded(token, modern("tools/call", "notes_create")...).challenge().params["scope"]
	for _, s := range []string{"weather:read", "profile", "notes:write"} {
		t.Want(strings.Contains(" "+scope+" ", " "+s+" "), "the challenge %q lacks %s", scope, s)
	}
	again := w.forwarded(token, modern("tools/call", "notes_create")...).challenge().params["scope"]
	t.Want(again == scope, "the same request is challenged with %q, then %q", scope, again)
	if len(t.faults) > 0 {
		return
	}
	better := w.holds(scope)
	for _, tool := range []string{"weather_today", "whoami", "notes_create"} {
		t.Want(w.forwarded(better, modern("tools/call", tool)...).Status == 200, "after the step-up %s is refused", tool)
	}
	// What no scope opens is not asked for again and again.
	a := w.forwarded(better, modern("tools/call", "no_such_tool")...)
	t.Want(a.Status == 403 && !strings.Contains(a.Header.Get("WWW-Authenticate"), "insufficient_scope"), "a tool that no scope opens: %d %q", a.Status, a.Header.Get("WWW-Authenticate"))
}

const broadScopes = `{host: mcp.example.com, endpoint: $MCP/mcp, path: /mcp, displayName: Team notes, scopes: [{name: "notes:all", includes: ["notes:read", "notes:write"]}]}`

func broadTokensPass(t *T) {
	w := t.World(configured("{host: mcp.example.com, endpoint: $MCP/mcp, path: /mcp, displayName: Team notes}", broadScopes))
	token := w.holds("notes:all")
	for _, tool := range []string{"notes_list", "notes_create"} {
		a := w.call(token, "tools/call", tool)
		t.Want(a.Status == 200, "%s with a scope that includes its own: %d", tool, a.Status)
	}
	t.Want(w.call(token, "tools/call", "weather_today").Status == 401, "a tool beyond the broad scope passes")
	all := w.holds(strings.Join(sampleScopes, " "))
	t.Want(w.call(all, "tools/call", "notes_list").Status == 200, "more scopes than needed are refused")
}

func pages(origins string) option {
	return configured("{host: mcp.example.com, endpoint: $MCP/mcp, path: /mcp, displayName: Team notes}", "{host: mcp.example.com, endpoint: $MCP/mcp, path: /mcp, displayName: Team notes, cors: {allowedOrigins: ["+origins+"]}}")
}

func preflightsAreAnswered(t *T) {
	w := t.World(pages("'https://app.example'"))
	preflight := []string{"X-Original-URL", resourceMCP, "X-Original-Method", "OPTIONS", "Origin", "https://app.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization"}
	a := w.get(issuerMCP+"/authenticate", preflight...)
	t.Want(a.Status == 200, "a preflight: %d", a.Status)
	a = w.get(issuerMCP+"/authenticate/forwarded", "X-Forwarded-Host", hostMCP, "X-Forwarded-Uri", "/mcp", "X-Forwarded-Method", "POST", "Origin", "https://app.example")
	exposed := a.Header.Get("Access-Control-Expose-Headers")
	t.Want(a.Status == 401 && strings.Contains(exposed, "WWW-Authenticate") && strings.Contains(strings.ToLower(exposed), "mcp-session-id"), "a page may not read the challenge: %d %q", a.Status, exposed)
	t.Want(w.get(issuerMCP+"/authenticate", "X-Original-URL", resourceMCP, "X-Original-Method", "POST", "Origin", "https://app.example", "Access-Control-Request-Method", "POST").Status == 401, "what is no preflight passes as one")
}

func foreignOriginsAreRefused(t *T) {
	w := t.World(pages("'https://app.example'"))
	token := w.newToken(hostMCP, resourceMCP)
	for _, origin := range []string{"https://evil.example", "https://app.example.evil.example", "http://app.example", "null", "https://app.example:8443"} {
		a := w.ask(resourceMCP, token, "Origin", origin)
		t.Want(a.Status == 403, "Origin %s: %d", origin, a.Status)
		t.Want(w.ask(resourceMCP, "", "Origin", origin).Status == 403, "Origin %s is looked at after the token", origin)
	}
	t.Want(w.ask(resourceMCP, token, "Origin", "https://app.example").Status == 200, "the allowed Origin is refused")
	t.Want(w.ask(resourceMCP, token).Status == 200, "no Origin is refused")
}

func oldRevisionsUnlockNothing(t *T) {
	strict := t.World(configured("displayName: Team notes}", "displayName: Team notes, toolPolicy: strict}"))
	token := strict.holds("notes:read")
	t.Want(strict.call(token, "tools/call", "notes_list").Status == 200, "strict: a modern request is refused")
	for _, version := range []string{"2025-11-25", "2025-06-18", "2025-03-26", ""} {
		for _, extra := range [][]string{{}, {"Mcp-Method", "tools/call", "Mcp-Name", "notes_list"}, {"Mcp-Method", "tools/list"}, {"X-HTTP-Method-Override", "GET"}} {
			h := append([]string{}, extra...)
			if version != "" {
				h = append(h, "MCP-Protocol-Version", version)
			}
			a := strict.ask(resourceMCP, token, h...)
			t.Want(a.Status == 403 || a.Status == 401, "strict, revision %q with %v: %d", version, extra, a.Status)
		}
	}
	// The default policy is coarse for them: headers neither open nor close anything.
	w := t.World()
	token = w.holds("notes:read")
	for _, name := range []string{"notes_list", "notes_create"} {
		a := w.ask(resourceMCP, token, "MCP-Protocol-Version", "2025-11-25", "Mcp-Method", "tools/call", "Mcp-Name", name)
		t.Want(a.Status == 200, "coarse, %s: %d", name, a.Status)
	}
}

func valuesAreExact(t *T) {
	w := t.World()
	token := w.holds("notes:read")
	base := []string{"MCP-Protocol-Version", "2026-07-28"}
	deny := func(what string, h ...string) {
		for dialect, a := range map[string]*answer{"nginx": w.ask(resourceMCP, token, append(base, h...)...), "forwarded": w.forwarded(token, append(base, h...)...)} {
			t.Want(a.Status >= 400 && a.Status < 500, "%s, %s: %d", dialect, what, a.Status)
		}
	}
	deny("name in another case", "Mcp-Method", "tools/call", "Mcp-Name", "Notes_List")
	deny("two methods", "Mcp-Method", "tools/list", "Mcp-Method", "tools/call", "Mcp-Name", "notes_list")
	deny("joined methods", "Mcp-Method", "tools/call,tools/list", "Mcp-Name", "notes_list")
	deny("two names", "Mcp-Method", "tools/call", "Mcp-Name", "notes_list", "Mcp-Name", "notes_create")
	deny("joined names", "Mcp-Method", "tools/call", "Mcp-Name", "notes_list, notes_create")
	for dialect, a := range map[string]*answer{"nginx": w.ask(resourceMCP, token, "MCP-Protocol-Version", "2026-07-28", "MCP-Protocol-Version", "2025-03-26", "Mcp-Method", "tools/call", "Mcp-Name", "notes_list")} {
		t.Want(a.Status == 403, "%s, two revisions: %d", dialect, a.Status)
	}
	t.Want(w.ask(resourceMCP, token, append(base, "mcp-method", "  tools/call ", "MCP-NAME", " notes_list\t")...).Status == 200, "names of headers in another case, or blanks around values, are refused")
}

func missingHeadersAreRefused(t *T) {
	w := t.World()
	token := w.holds("notes:read")
	for _, h := range [][]string{{}, {"Mcp-Method", ""}, {"Mcp-Method", "tools/call"}, {"Mcp-Method", "resources/read"}, {"Mcp-Method", "prompts/get"}, {"Mcp-Name", "notes_list"}} {
		h = append([]string{"MCP-Protocol-Version", "2026-07-28"}, h...)
		t.Want(w.forwarded(token, h...).Status == 400, "%v: %d", h[2:], w.forwarded(token, h...).Status)
		t.Want(w.ask(resourceMCP, token, h...).Status == 403, "nginx, %v: %d", h[2:], w.ask(resourceMCP, token, h...).Status)
	}
}

func encodedNamesAreDecoded(t *T) {
	w := t.World(withMCP(scopesServer(scopeEntry("plain:scope", "", "tool"), scopeEntry("odd:scope", "", "other"))))
	token := w.register(hostMCP, nil).token(with("scope", "plain:scope"))
	for name, want := range map[string]int{"tool": 200, encoded("tool"): 200, "other": 401, encoded("other"): 401, encoded("t\u00f6\u00f6l"): 403} {
		a := w.call(token, "tools/call", name)
		t.Want(a.Status == want, "%s: %d, want %d", name, a.Status, want)
	}
}

func oddNamesAreRefused(t *T) {
	w := t.World()
	token := w.holds("notes:read")
	for _, name := range []string{
		"=?base64?%%%?=", "=?base64?bm90ZXNfbGlzdA?=", "=?base64?bm90ZXNfbGlzdA==", "=?base64?bm90ZXNfbGlzdB==?=", "=?base64?/w==?=", "=?base64??=", "=?BASE64?bm90ZXNfbGlzdA==?=", "=?base64?bm90ZXNf bGlzdA==?=",
		encoded(encoded("notes_list")), "notes_list.", "NOTES_LIST", "notes_list\u00a0", "n\u043etes_list", encoded("notes_list\x00"), encoded("notes_list "), encoded("notes_list,notes_create"),
	} {
		a := w.forwarded(token, modern("tools/call", name)...)
		t.Want(a.Status == 400 || a.Status == 403, "%q: %d", name, a.Status)
	}
	t.Want(w.forwarded(token, modern("tools/call", encoded("notes_list"))...).Status == 200, "the exact name is refused")
}

func operandsDoNotMix(t *T) {
	w := t.World(configured("displayName: Team notes}", `displayName: Team notes, scopes: [{name: "files:read", resources: ["notes_list"], prompts: ["other"]}]}`))
	token := w.holds("notes:read")
	t.Want(w.call(token, "tools/call", "notes_list").Status == 200, "the tool is refused")
	for _, method := range []string{"resources/read", "prompts/get"} {
		a := w.call(token, method, "notes_list")
		t.Want(a.Status == 401 || a.Status == 403, "%s of a tool's name: %d", method, a.Status)
	}
	files := w.holds("files:read")
	t.Want(w.call(files, "resources/read", "notes_list").Status == 200, "the resource is refused")
	t.Want(w.call(files, "tools/call", "notes_list").Status != 200, "a resource's scope opens a tool")
}

func parameterHeadersPass(t *T) {
	w := t.World()
	token := w.holds("notes:read")
	before := w.mcp.count()
	h := append(modern("tools/call", "notes_list"), "Authorization", "Bearer "+token, "Mcp-Param-Region", "eu-west", "Mcp-Param-Tool", "notes_create", "Content-Type", "application/json", "Accept", "application/json, text/event-stream")
	a := w.do("POST", resourceMCP, `{}`, h...)
	seen, _ := w.mcp.since(before)
	if len(seen) == 0 {
		t.Fatalf("nothing reached the MCP server: %d", a.Status)
	}
	t.Want(seen[0].Header.Get("Mcp-Param-Region") == "eu-west" && seen[0].Header.Get("Mcp-Param-Tool") == "notes_create", "parameter headers are lost")
	t.Want(w.ask(resourceMCP, token, append(modern("tools/call", "notes_create"), "Mcp-Param-Tool", "notes_list")...).Status == 401, "a parameter header decides")
}

func bodiesAgreeWithHeaders(t *T) {
	w := t.World(configured("displayName: Team notes}", "displayName: Team notes, body: true}"))
	token := w.holds("notes:read")
	send := func(body string, header ...string) *answer {
		h := append([]string{"X-Forwarded-Host", hostMCP, "X-Forwarded-Uri", "/mcp", "X-Forwarded-Method", "POST", "Content-Type", "application/json", "Authorization", "Bearer " + token}, header...)
		return w.do("POST", issuerMCP+"/authenticate/forwarded", body, h...)
	}
	call := func(name string) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + name + `","arguments":{}}}`
	}
	t.Want(send(call("notes_list"), modern("tools/call", "notes_list")...).Status == 200, "an honest request is refused")
	a := send(call("notes_create"), modern("tools/call", "notes_list")...)
	t.Want(a.Status == 400 && strings.Contains(a.Body, "-32020"), "header and body differ: %d %s", a.Status, a.Body)
	t.Want(send(call("notes_create"), "MCP-Protocol-Version", "2025-06-18").Status == 403, "an old request whose body names a closed tool passes")
	t.Want(send(call("notes_list"), "MCP-Protocol-Version", "2025-06-18").Status == 200, "an old request whose body names an open tool is refused")
	t.Want(send("["+call("notes_list")+","+call("notes_create")+"]", "MCP-Protocol-Version", "2025-03-26").Status == 403, "a batch with a closed tool passes")
	t.Want(send("["+call("notes_list")+","+call("notes_read")+"]", "MCP-Protocol-Version", "2025-03-26").Status == 200, "a batch of open tools is refused")
	t.Want(send(strings.Replace(call("notes_list"), `"method"`, `"method":"tools/list","method"`, 1), "MCP-Protocol-Version", "2025-06-18").Status >= 400, "a repeated member passes")
	t.Want(send(call("notes_list")+strings.Repeat(" ", 2<<20), "MCP-Protocol-Version", "2025-06-18").Status >= 400, "a body of 2 MiB passes")
	t.Want(send(`{"jsonrpc":"2.0","id":1,"Method":"tools/list","method":"tools/call","params":{"name":"notes_create"}}`, "MCP-Protocol-Version", "2025-06-18").Status >= 400, "a member in another case passes")
}

func unknownRevisionsPass(t *T) {
	w := t.World()
	token := w.holds("notes:read")
	for _, version := range []string{"", "2024-11-05", "1.0", "draft", "latest"} {
		var h []string
		if version != "" {
			h = []string{"MCP-Protocol-Version", version}
		}
		t.Want(w.ask(resourceMCP, token, h...).Status == 200, "revision %q: %d", version, w.ask(resourceMCP, token, h...).Status)
	}
	future := w.ask(resourceMCP, token, "MCP-Protocol-Version", "2030-01-01", "Mcp-Method", "server/discover")
	t.Want(future.Status == 200, "a future revision: %d", future.Status)
}

func unknownToolsAreClosed(t *T) {
	w := t.World()
	all := w.holds(strings.Join(sampleScopes, " "))
	for _, name := range []string{"no_such_tool", "notes_list2", "", "*", "notes_"} {
		a := w.call(all, "tools/call", name)
		t.Want(a.Status == 403 || a.Status == 401, "tool %q: %d", name, a.Status)
	}
}
