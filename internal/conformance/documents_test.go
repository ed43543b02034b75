package conformance

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress"
)

// Where documents are published.
const (
	appHost = "app.example"
	appID   = "https://" + appHost + "/client.json"
)

var documentChecks = []Check{
	{IDs: "AS-CIMD-02", Run: documentURLsAreStrict, Twins: twins(knownDocument())},
	{IDs: "AS-CIMD-03", Run: oddDocumentURLs, Twins: twins(knownDocument())},
	{IDs: "AS-CIMD-04", Run: ownHostsPublishNothing, Twins: twins(knownDocument())},
	{IDs: "AS-CIMD-05", Run: documentsAreFetchedBare, Twins: twins(Twin{Web: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Cookie", "a=b")
			next.ServeHTTP(w, r)
		})
	}})},
	{IDs: "AS-CIMD-06", Run: only200IsADocument, Twins: twins(onTheWeb(func(_ *http.Request, a *reply) { a.Status = 200 }))},
	{IDs: "AS-CIMD-07", Run: documentRedirectsAreNotFollowed, Twins: twins(Twin{Web: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			next.ServeHTTP(rec, r)
			if to := rec.Header().Get("Location"); to != "" {
				u, _ := url.Parse(to)
				again := httptest.NewRequest("GET", to, nil)
				again.Host = u.Host
				next.ServeHTTP(w, again)
				return
			}
			w.WriteHeader(rec.Code)
			w.Write(rec.Body.Bytes())
		})
	}})},
	{IDs: "AS-CIMD-08", Run: documentsAreJSON, Twins: twins(onTheWeb(func(_ *http.Request, a *reply) { a.Header.Set("Content-Type", "application/json") }))},
	{IDs: "AS-CIMD-09", Run: fetchesAreBounded, Twins: twins(goodDocuments(), Twin{Web: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(httptest.NewRecorder(), r) // a second fetch of the same
			next.ServeHTTP(w, r)
		})
	}})},
	{IDs: "AS-CIMD-10 ATK-43 ATK-44", Run: specialAddressesAreNotDialed, Twins: twins(Twin{Network: func(n egress.Network) egress.Network {
		n.Lookup = func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr("93.184.215.14")}, nil
		}
		return n
	}})},
	{IDs: "AS-CIMD-11", Run: loopbackIsForDevelopment, Twins: twins(knownDocument())},
	{IDs: "AS-CIMD-12 AS-CIMD-27 ATK-45", Run: innerURLsAreNotFetched, Twins: twins(Twin{Web: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			inner := httptest.NewRequest("GET", "https://inner.example/logo", nil)
			next.ServeHTTP(httptest.NewRecorder(), inner)
		})
	}}, replaceBody("/authorize", "</body>", `<img src="https://inner.example/logo"></body>`))},
	{IDs: "AS-CIMD-13", Run: documentsAreOneObject, Twins: twins(goodDocuments())},
	{IDs: "AS-CIMD-14", Run: documentNamesItself, Twins: twins(goodDocuments())},
	{IDs: "AS-CIMD-15", Run: documentsAreComplete, Twins: twins(goodDocuments())},
	{IDs: "AS-CIMD-16", Run: documentsHaveNoSecrets, Twins: twins(goodDocuments(), answers("/token", 200, 401, `{"error":"invalid_client"}`))},
	{IDs: "AS-CIMD-17", Run: signingDocumentsMustSign, Twins: twins(answers("/token", 401, 200, `{"access_token":"x"}`))},
	{IDs: "AS-CIMD-18", Run: severalMethodsAreNegotiated, Twins: twins(status("/authorize", 200, 400))},
	{IDs: "AS-CIMD-19", Run: documentKeys, Twins: twins(goodDocuments())},
	{IDs: "AS-CIMD-20", Run: documentsAreTolerated, Twins: twins(status("/authorize", 200, 400), goodDocuments())},
	{IDs: "AS-CIMD-21", Run: redirectsMayBeElsewhere, Twins: twins(status("/authorize", 200, 400))},
	{IDs: "AS-CIMD-22", Run: documentsAreCached, Twins: twins(onTheWeb(func(_ *http.Request, a *reply) { a.Header.Set("Cache-Control", "no-store") }), onTheWeb(func(_ *http.Request, a *reply) { a.Header.Set("Cache-Control", "max-age=600") }))},
	{IDs: "AS-CIMD-23", Run: failuresAreNotCached, Twins: twins(Twin{Web: func(next http.Handler) http.Handler {
		var mu sync.Mutex
		first := map[string]*httptest.ResponseRecorder{}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			rec := first[r.Host+r.RequestURI]
			if rec == nil {
				rec = httptest.NewRecorder()
				next.ServeHTTP(rec, r)
				first[r.Host+r.RequestURI] = rec
			}
			for n, v := range rec.Header() {
				w.Header()[n] = v
			}
			w.WriteHeader(rec.Code)
			w.Write(rec.Body.Bytes())
		})
	}})},
	{IDs: "AS-CIMD-24", Run: badDocumentsEndInAPage, Twins: twins(status("/authorize", 503, 400), redirectsErrors())},
	{IDs: "AS-CIMD-25", Run: fetchTroubleAtToken, Twins: twins(answers("/token", 503, 401, `{"error":"invalid_client"}`))},
	{IDs: "AS-CIMD-26", Run: changedDocumentsAskAgain, Twins: twins(remembersBrowser())},
	{IDs: "ATK-47", Run: fetchesHaveABudget, Twins: twins(Twin{Web: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for range 10 {
				next.ServeHTTP(httptest.NewRecorder(), r)
			}
			next.ServeHTTP(w, r)
		})
	}})},
}

// onTheWeb changes what sites answer: the service then behaves as if it did not look.
func onTheWeb(change func(*http.Request, *reply)) Twin {
	return Twin{Web: func(next http.Handler) http.Handler { return changeReplies("*", change, next) }}
}

// goodDocuments is a service that finds a good document wherever it looks.
func goodDocuments() Twin {
	return Twin{Web: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(document("https://" + r.Host + r.RequestURI))
		})
	}}
}

// knownDocument is a service that takes every client id for a registered client's.
func knownDocument() Twin {
	return Twin{Front: func(next http.Handler) http.Handler {
		var mu sync.Mutex
		id := ""
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/authorize" {
				mu.Lock()
				if id == "" {
					raw, _ := json.Marshal(metadata())
					register := httptest.NewRequest("POST", "https://"+r.Host+"/register", bytes.NewReader(raw))
					register.Header.Set("Content-Type", "application/json")
					rec := httptest.NewRecorder()
					next.ServeHTTP(rec, register)
					var m map[string]any
					_ = json.Unmarshal(rec.Body.Bytes(), &m)
					id, _ = m["client_id"].(string)
				}
				q := r.URL.Query()
				q.Set("client_id", id)
				mu.Unlock()
				r.URL.RawQuery = q.Encode()
			}
			next.ServeHTTP(w, r)
		})
	}}
}

// document is an ordinary metadata document.
func document(id string, kv ...any) map[string]any {
	return changed(map[string]any{
		"client_id": id, "client_name": "Document client", "redirect_uris": []string{callback}, "token_endpoint_auth_method": "none",
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
	}, kv...)
}

// serves answers with a document.
func serves(doc any, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		if s, ok := doc.(string); ok {
			fmt.Fprint(w, s)
			return
		}
		json.NewEncoder(w).Encode(doc)
	}
}

// documentClient is the client that calls itself id.
func (w *world) documentClient(id string) *client {
	return &client{w: w, host: hostMCP, id: id, redirect: callback, verifier: verifier}
}

// tryDocument publishes a document at a place of its own and authorizes.
var places atomic.Int64

func (w *world) tryDocument(serve func(id string) http.HandlerFunc) (*answer, *client) {
	host := fmt.Sprintf("app%d.example", places.Add(1))
	id := "https://" + host + "/client.json"
	w.web.site(host, serve(id))
	w.clock.Move(time.Minute) // a fresh budget
	c := w.documentClient(id)
	return w.get(c.request()), c
}

func documentURLsAreStrict(t *T) {
	w := t.World(own)
	w.web.site(appHost, serves(document(appID)))
	for _, id := range []string{
		"http://app.example/client.json", "https://app.example", "https://app.example/", "https://app.example/./client.json", "https://app.example/a/../client.json",
		"https://app.example/%2e/client.json", "https://app.example/%2E%2e/client.json", "https://app.example/.%2e/x", "https://app.example/client.json#", "https://app.example/client.json#x",
		"https://user@app.example/client.json", "https://user:pw@app.example/client.json", "https://@app.example/client.json", "https://:@app.example/client.json", "https:///client.json",
		"https:app.example/client.json", "HTTPS://app.example/client.json", "ftp://app.example/client.json", "//app.example/client.json", "https://app.example/..",
	} {
		w.get(w.documentClient(id).request()).LocalError(id)
	}
	t.Want(w.web.dials() == 0, "%d connections were made", w.web.dials())
	t.Want(w.get(w.documentClient(appID).request()).Status == 200, "a good document is refused")
}

func oddDocumentURLs(t *T) {
	w := t.World(own)
	for _, id := range []string{
		"https://app.example:22/client.json", "https://app.example:8443/client.json", "https://app.example:0/client.json", "https://app.example:99999/client.json",
		"https://app.example/" + strings.Repeat("x", 2049), "https://app.example/a b", "https://app.example/a\tb", "https://app.example\\@evil.example/x", "https://app.example/\u00e4", "https://app.example/\x00",
		"https://app.example/client.json?a=b",
	} {
		w.get(w.documentClient(id).request()).LocalError(id)
	}
	t.Want(w.web.dials() == 0, "%d connections were made", w.web.dials())
}

func ownHostsPublishNothing(t *T) {
	w := t.World(own, configured("", "registration: {metadataDocuments: {deniedDomains: ['denied.example', '*.bad.example']}}"))
	for _, host := range []string{hostMCP, hostRoot, "MCP.example.com", "denied.example", "x.bad.example"} {
		w.get(w.documentClient("https://" + host + "/client.json").request()).LocalError(host)
	}
	closed := t.World(own, configured("", "registration: {metadataDocuments: {allowedDomains: ['claude.ai']}}"))
	closed.get(closed.documentClient(appID).request()).LocalError("unlisted host")
	t.Want(w.web.dials()+closed.web.dials() == 0, "connections were made")
}

func documentsAreFetchedBare(t *T) {
	w := t.World(own)
	w.web.site(appHost, serves(document(appID)))
	c := w.documentClient(appID)
	b := w.browser()
	b.get(issuerMCP+"/authorize?client_id="+url.QueryEscape(appID), "Referer", "https://private.example/page")
	if a := b.get(c.request(), "Cookie", "session=x", "Authorization", "Bearer x"); a.Status != 200 {
		t.Setupf("%d", a.Status)
	}
	seen := w.web.requests()
	if len(seen) != 1 {
		t.Fatalf("%d requests, want one", len(seen))
	}
	r := seen[0]
	t.Want(r.Method == "GET" && r.Host == appHost && r.RequestURI == "/client.json", "%s %s %s", r.Method, r.Host, r.RequestURI)
	for _, name := range []string{"Cookie", "Authorization", "Referer", "X-Forwarded-For", "Origin"} {
		t.Want(r.Header.Get(name) == "", "sends %s", name)
	}
}

func only200IsADocument(t *T) {
	w := t.World(own)
	for _, code := range []int{201, 202, 203, 206, 400, 403, 404, 410, 500, 503} {
		a, _ := w.tryDocument(func(id string) http.HandlerFunc {
			return func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Content-Type", "application/json")
				rw.WriteHeader(code)
				json.NewEncoder(rw).Encode(document(id))
			}
		})
		t.Want(a.Status >= 400 && a.Header.Get("Location") == "", "status %d of the document: %d", code, a.Status)
	}
}

func documentRedirectsAreNotFollowed(t *T) {
	w := t.World(own)
	for _, code := range []int{301, 302, 303, 307, 308} {
		before := len(w.web.requests())
		a, _ := w.tryDocument(func(id string) http.HandlerFunc {
			return func(rw http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/moved") {
					serves(document(id))(rw, r)
					return
				}
				rw.Header().Set("Location", strings.TrimSuffix(id, "/client.json")+"/moved")
				rw.WriteHeader(code)
			}
		})
		a.LocalError(fmt.Sprintf("redirect %d", code))
		t.Want(len(w.web.requests())-before <= 1, "redirect %d was followed", code)
	}
}

func documentsAreJSON(t *T) {
	w := t.World(own)
	for _, media := range []string{"text/html", "text/plain", "", "application/javascript", "application/jsonp", "text/json"} {
		a, _ := w.tryDocument(func(id string) http.HandlerFunc {
			return func(rw http.ResponseWriter, r *http.Request) {
				rw.Header()["Content-Type"] = nil
				if media != "" {
					rw.Header().Set("Content-Type", media)
				}
				json.NewEncoder(rw).Encode(document(id))
			}
		})
		a.LocalError("media type " + media)
	}
	for _, media := range []string{"application/json; charset=utf-8", "application/client-metadata+json"} {
		a, _ := w.tryDocument(func(id string) http.HandlerFunc { return serves(document(id), "Content-Type", media) })
		t.Want(a.Status == 200, "media type %s: %d", media, a.Status)
	}
}

func fetchesAreBounded(t *T) {
	w := t.World(own)
	fill := func(id string, size int) string {
		raw, _ := json.Marshal(document(id, "padding", ""))
		return strings.Replace(string(raw), `"padding":""`, `"padding":"`+strings.Repeat("x", size-len(raw))+`"`, 1)
	}
	a, _ := w.tryDocument(func(id string) http.HandlerFunc { return serves(fill(id, 5<<10)) })
	t.Want(a.Status == 200, "5 KiB: %d", a.Status)
	a, _ = w.tryDocument(func(id string) http.HandlerFunc { return serves(fill(id, 5<<10+1)) })
	a.LocalError("5 KiB and a byte")
	a, _ = w.tryDocument(func(id string) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			var z bytes.Buffer
			g := gzip.NewWriter(&z)
			fmt.Fprint(g, fill(id, 2<<20))
			g.Close()
			rw.Header().Set("Content-Encoding", "gzip")
			rw.Header().Set("Content-Type", "application/json")
			rw.Write(z.Bytes())
		}
	})
	t.Want(a.Status >= 400, "a compressed bomb: %d", a.Status)
	before := len(w.web.requests())
	w.web.site("busy.example", func(rw http.ResponseWriter, r *http.Request) {
		time.Sleep(100 * time.Millisecond)
		serves(document("https://busy.example/client.json"))(rw, r)
	})
	w.clock.Move(time.Minute)
	var wait sync.WaitGroup
	address := w.documentClient("https://busy.example/client.json").request()
	for range 100 {
		wait.Go(func() {
			if resp, err := w.client.Get(address); err == nil {
				resp.Body.Close()
			}
		})
	}
	wait.Wait()
	t.Want(len(w.web.requests())-before <= 1, "100 at once caused %d fetches", len(w.web.requests())-before)
	began := time.Now()
	stop := make(chan struct{})
	t.TB.Cleanup(func() { close(stop) })
	a, _ = w.tryDocument(func(id string) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			for {
				fmt.Fprint(rw, " ")
				http.NewResponseController(rw).Flush()
				select {
				case <-stop:
					return
				case <-r.Context().Done():
					return
				case <-time.After(200 * time.Millisecond):
				}
			}
		}
	})
	t.Want(a.Status >= 400 && time.Since(began) < 12*time.Second, "a slow drip: %d after %v", a.Status, time.Since(began))
}

var specialAddresses = []string{
	"127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1",
	"224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.0.1", "::1", "::", "fe80::1", "fc00::1", "fd00::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
	"64:ff9b::a00:1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001::1", "100::1", "fec0::1",
}

func specialAddressesAreNotDialed(t *T) {
	w := t.World(own)
	for i, addr := range specialAddresses {
		host := fmt.Sprintf("inside%d.example", i)
		w.web.site(host, serves(document("https://"+host+"/c")))
		w.web.internet.Resolve(host, addr)
		w.clock.Move(time.Minute)
		a := w.get(w.documentClient("https://" + host + "/c").request())
		t.Want(a.Status >= 400 && a.Header.Get("Location") == "", "a name at %s: %d", addr, a.Status)
	}
	// One bad answer among good ones: whichever is dialed, it is not that one.
	w.web.site("mixed.example", serves(document("https://mixed.example/c")))
	w.web.internet.Resolve("mixed.example", "93.184.215.14", "10.0.0.1")
	w.get(w.documentClient("https://mixed.example/c").request())
	bodies := map[string]bool{}
	for _, host := range []string{"127.0.0.1", "[::1]", "169.254.169.254", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::ffff:10.0.0.1]", "localhost", "printer.local", "db.internal", "metadata.google.internal", "1.1.1.1"} {
		w.clock.Move(time.Minute)
		a := w.get(w.documentClient("https://" + host + "/c").request())
		t.Want(a.Status >= 400 && a.Header.Get("Location") == "", "host %s: %d", host, a.Status)
		bodies[stripFlow(a.Body)] = true
	}
	for _, to := range w.web.internet.Dialed() {
		t.Want(to.Addr().String() == "93.184.215.14", "%s was connected to", to)
	}
	for _, addr := range specialAddresses[:3] {
		bodies[addr] = false
	}
	t.Want(w.web.dials() <= 1, "%d connections", w.web.dials())
}

// stripFlow takes the flow id, new on each page, out of a page.
func stripFlow(page string) string {
	if i := strings.Index(page, "<footer>"); i >= 0 {
		return page[:i]
	}
	return page
}

func loopbackIsForDevelopment(t *T) {
	w := t.World(own)
	for _, id := range []string{"http://127.0.0.1:1234/c", "http://localhost/c", "https://127.0.0.1/c", "https://localhost:8443/c"} {
		w.get(w.documentClient(id).request()).LocalError(id)
	}
	t.Want(w.web.dials() == 0, "loopback was connected to")
	_, err := parseConfig(standardConfig+"registration: {metadataDocuments: {allowLoopback: true}}\n", nil)
	t.Want(err != nil, "the exception can be switched on beside public hosts")
}

func innerURLsAreNotFetched(t *T) {
	w := t.World(own)
	w.web.site("inner.example", func(http.ResponseWriter, *http.Request) {})
	w.web.internet.Resolve("inner.example", "169.254.169.254")
	var page *answer
	for _, name := range []string{"logo_uri", "client_uri", "tos_uri", "policy_uri", "sector_identifier_uri", "jwks_uri", "initiate_login_uri", "request_uris"} {
		for _, address := range []string{"https://inner.example/x", "https://169.254.169.254/latest", "http://127.0.0.1/"} {
			page, _ = w.tryDocument(func(id string) http.HandlerFunc { return serves(document(id, name, address)) })
			t.Want(!strings.Contains(page.Body, "<img src=\"http") && !strings.Contains(page.Body, "inner.example"), "%s is on the page", name)
		}
	}
	for _, r := range w.web.requests() {
		t.Want(strings.HasPrefix(r.Host, "app"), "%s%s was fetched", r.Host, r.RequestURI)
	}
	for _, to := range w.web.internet.Dialed() {
		t.Want(to.Addr().String() == "93.184.215.14", "%s was connected to", to)
	}
	// The keys of a client that signs are fetched, but not from there.
	a, c := w.tryDocument(func(id string) http.HandlerFunc {
		return serves(document(id, "token_endpoint_auth_method", "private_key_jwt", "jwks_uri", "https://inner.example/keys"))
	})
	if a.Status == 200 {
		c.exchange("x", c.signed())
	}
	for _, to := range w.web.internet.Dialed() {
		t.Want(to.Addr().String() == "93.184.215.14", "%s was connected to for keys", to)
	}
}

// documentsRefused wants every one of these documents refused.
func documentsRefused(t *T, bodies map[string]func(id string) any) {
	w := t.World(own)
	for what, body := range bodies {
		a, _ := w.tryDocument(func(id string) http.HandlerFunc { return serves(body(id)) })
		a.LocalError(what)
	}
	a, _ := w.tryDocument(func(id string) http.HandlerFunc { return serves(document(id)) })
	t.Want(a.Status == 200, "a good document is refused: %d", a.Status)
}

func text(doc map[string]any) string {
	raw, _ := json.Marshal(doc)
	return string(raw)
}

func documentsAreOneObject(t *T) {
	documentsRefused(t, map[string]func(string) any{
		"array": func(string) any { return "[]" }, "null": func(string) any { return "null" }, "empty": func(string) any { return "" },
		"list of documents": func(id string) any { return "[" + text(document(id)) + "]" },
		"repeated member": func(id string) any {
			return strings.Replace(text(document(id)), `"redirect_uris"`, `"redirect_uris":["https://evil.example/cb"],"redirect_uris"`, 1)
		},
		"trailing data": func(id string) any { return text(document(id)) + "{}" }, "BOM": func(id string) any { return "\ufeff" + text(document(id)) },
		"cut": func(id string) any { return text(document(id))[:60] },
		"invalid UTF-8": func(id string) any {
			return strings.Replace(text(document(id)), "Document client", "Doc\xff\xfe", 1)
		},
	})
}

func documentNamesItself(t *T) {
	documentsRefused(t, map[string]func(string) any{
		"another URL":    func(id string) any { return document(appID) },
		"case":           func(id string) any { return document(strings.Replace(id, "app", "App", 1)) },
		"port":           func(id string) any { return document(strings.Replace(id, ".example", ".example:443", 1)) },
		"trailing slash": func(id string) any { return document(id + "/") },
		"escape":         func(id string) any { return document(strings.Replace(id, "client", "%63lient", 1)) },
		"missing":        func(id string) any { return document(id, "client_id", nil) },
		"number":         func(id string) any { return document(id, "client_id", 1) },
		"list":           func(id string) any { return document(id, "client_id", []string{id}) },
		"other case":     func(id string) any { return document(id, "client_id", nil, "Client_ID", id) },
	})
}

func documentsAreComplete(t *T) {
	set := func(name string, value any) func(string) any {
		return func(id string) any { return document(id, name, value) }
	}
	documentsRefused(t, map[string]func(string) any{
		"no client_name": set("client_name", nil), "empty client_name": set("client_name", ""), "client_name is a number": set("client_name", 1),
		"no redirect_uris": set("redirect_uris", nil), "empty redirect_uris": set("redirect_uris", []string{}), "redirect_uris is a string": set("redirect_uris", callback), "redirect_uris of numbers": set("redirect_uris", []int{1}),
		"only bad redirect_uris": set("redirect_uris", []string{"http://evil.example/cb", "javascript:x"}),
	})
}

func documentsHaveNoSecrets(t *T) {
	documentsRefused(t, map[string]func(string) any{
		"client_secret":            func(id string) any { return document(id, "client_secret", "x") },
		"client_secret_expires_at": func(id string) any { return document(id, "client_secret_expires_at", 0) },
		"client_secret_basic":      func(id string) any { return document(id, "token_endpoint_auth_method", "client_secret_basic") },
		"client_secret_post":       func(id string) any { return document(id, "token_endpoint_auth_method", "client_secret_post") },
		"client_secret_jwt":        func(id string) any { return document(id, "token_endpoint_auth_method", "client_secret_jwt") },
	})
	if len(t.faults) > 0 {
		return
	}
	w := t.World(own)
	a, c := w.tryDocument(func(id string) http.HandlerFunc { return serves(document(id, "token_endpoint_auth_method", nil)) })
	t.Want(a.Status == 200, "no method: %d", a.Status)
	t.Want(c.exchange(c.code()).Status == 200, "no method does not mean public")
}

func signingDocumentsMustSign(t *T) {
	w := t.World(own)
	_, c := w.tryDocument(func(id string) http.HandlerFunc {
		return serves(document(id, "token_endpoint_auth_method", "private_key_jwt", "jwks", json.RawMessage(publicKeys())))
	})
	code := c.code()
	c.exchange(code).Refused(401, "invalid_client")
	c.exchange(code, with("client_secret", "x")).Refused(401, "invalid_client")
	a := c.exchange(code, c.signed())
	t.Want(a.Status == 200, "with an assertion: %d %s", a.Status, a.Body)
}

func severalMethodsAreNegotiated(t *T) {
	w := t.World(own)
	w.web.site("keys.example", serves(publicKeys()))
	for _, list := range [][]string{{"private_key_jwt", "none"}, {"none", "private_key_jwt"}, {"client_secret_basic", "none"}} {
		a, c := w.tryDocument(func(id string) http.HandlerFunc {
			return serves(document(id, "token_endpoint_auth_method", "private_key_jwt", "token_endpoint_auth_methods_supported", list, "jwks_uri", "https://keys.example/jwks"))
		})
		t.Want(a.Status == 200, "%v: %d", list, a.Status)
		if a.Status == 200 {
			answer := c.exchange(c.code(), c.signed())
			t.Want(answer.Status == 200, "%v: %d %s", list, answer.Status, answer.Body)
		}
	}
	a, c := w.tryDocument(func(id string) http.HandlerFunc {
		return serves(document(id, "token_endpoint_auth_method", nil, "token_endpoint_auth_methods_supported", []string{"client_secret_basic", "none"}))
	})
	t.Want(a.Status == 200, "none among others: %d", a.Status)
	if a.Status == 200 {
		t.Want(c.exchange(c.code()).Status == 200, "none among others is not negotiated")
	}
}

func documentKeys(t *T) {
	sign := func(kv ...any) func(string) any {
		return func(id string) any {
			return document(id, append([]any{"token_endpoint_auth_method", "private_key_jwt"}, kv...)...)
		}
	}
	documentsRefused(t, map[string]func(string) any{
		"both":          sign("jwks", json.RawMessage(publicKeys()), "jwks_uri", "https://keys.example/jwks"),
		"neither":       sign(),
		"symmetric key": sign("jwks", json.RawMessage(`{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"a"}]}`)),
		"private key":   sign("jwks", json.RawMessage(privateKeys())),
	})
}

func documentsAreTolerated(t *T) {
	w := t.World(own)
	for what, kv := range map[string][]any{
		"VS Code's device grant": {"grant_types", []string{"authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"}},
		"unknown members":        {"client_name#de", "Klient", "favourite", true, "contacts", []string{"a@b.example"}},
		"implicit beside code":   {"response_types", []string{"code", "token"}},
		"a bad redirect too":     {"redirect_uris", []string{callback, "http://evil.example/cb", "javascript:x"}},
	} {
		a, _ := w.tryDocument(func(id string) http.HandlerFunc { return serves(document(id, kv...)) })
		t.Want(a.Status == 200, "%s: %d", what, a.Status)
	}
	_, c := w.tryDocument(func(id string) http.HandlerFunc {
		return serves(document(id, "redirect_uris", []string{"https://client.example/other"}))
	})
	w.get(c.request()).LocalError("a redirect URI that the document does not list")
}

func redirectsMayBeElsewhere(t *T) {
	w := t.World(own)
	a, c := w.tryDocument(func(id string) http.HandlerFunc { return serves(document(id)) })
	t.Want(a.Status == 200 && strings.HasPrefix(c.redirect, "https://client.example/"), "a redirect at another origin: %d", a.Status)
}

func documentsAreCached(t *T) {
	w := t.World(own)
	fetches := func(host string, after time.Duration, header ...string) int {
		id := "https://" + host + "/c"
		w.web.site(host, serves(document(id), header...))
		w.clock.Move(time.Minute)
		before := len(w.web.requests())
		w.get(w.documentClient(id).request())
		w.clock.Move(after)
		w.get(w.documentClient(id).request())
		return len(w.web.requests()) - before
	}
	for _, c := range []struct {
		what   string
		after  time.Duration
		want   int
		header []string
	}{
		{"fresh", 30 * time.Minute, 1, []string{"Cache-Control", "max-age=3600"}},
		{"stale", 2 * time.Hour, 2, []string{"Cache-Control", "max-age=3600"}},
		{"no-store", time.Minute, 2, []string{"Cache-Control", "no-store"}},
		{"oversize max-age", 25 * time.Hour, 2, []string{"Cache-Control", "max-age=31536000"}},
		{"nothing said", time.Second, 1, nil},
	} {
		got := fetches(fmt.Sprintf("cache%d.example", places.Add(1)), c.after, c.header...)
		t.Want(got == c.want, "%s: %d fetches, want %d", c.what, got, c.want)
	}
}

func failuresAreNotCached(t *T) {
	w := t.World(own)
	for what, bad := range map[string]http.HandlerFunc{"a failure": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "an invalid document": serves("[]", "Cache-Control", "max-age=3600")} {
		broken := true
		a, c := w.tryDocument(func(id string) http.HandlerFunc {
			return func(rw http.ResponseWriter, r *http.Request) {
				if broken {
					bad(rw, r)
					return
				}
				serves(document(id))(rw, r)
			}
		})
		t.Want(a.Status >= 400, "%s: %d", what, a.Status)
		broken = false
		w.clock.Move(time.Minute)
		t.Want(w.get(c.request()).Status == 200, "%s is remembered", what)
	}
}

func badDocumentsEndInAPage(t *T) {
	w := t.World(own)
	permanent, _ := w.tryDocument(func(string) http.HandlerFunc { return serves("[]") })
	permanent.LocalError("an invalid document")
	temporary, _ := w.tryDocument(func(string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }
	})
	t.Want(temporary.Status == 503 && temporary.Header.Get("Location") == "", "a site that fails: %d", temporary.Status)
	t.Want(visible(permanent.Body) != visible(temporary.Body), "the pages are the same")
}

func fetchTroubleAtToken(t *T) {
	w := t.World(own)
	broken := false
	_, c := w.tryDocument(func(id string) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			if broken {
				rw.WriteHeader(500)
				return
			}
			serves(document(id), "Cache-Control", "no-store")(rw, r)
		}
	})
	code := c.code()
	broken = true
	a := c.exchange(code)
	t.Want(a.Status == 200 || a.Status == 503 && a.Text("error") != "invalid_client", "the site fails at the token endpoint: %d %s", a.Status, a.Body)
}

func changedDocumentsAskAgain(t *T) {
	w := t.World(own)
	name := "Document client"
	_, c := w.tryDocument(func(id string) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			serves(document(id, "client_name", name), "Cache-Control", "no-store")(rw, r)
		}
	})
	b := w.browser()
	b.signIn(c.request())
	name = "Another name"
	a := b.get(c.request())
	t.Want(a.Status == 200 && strings.Contains(a.Body, "Another name") && strings.Contains(a.Body, `name="decision"`), "after a change: %d", a.Status)
}

func fetchesHaveABudget(t *T) {
	w := t.World(own)
	count := func(address func(i int) string) int {
		before := len(w.web.requests())
		for i := range 60 {
			w.get(w.documentClient(address(i)).request())
		}
		return len(w.web.requests()) - before
	}
	w.web.site("victim.example", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) })
	n := count(func(i int) string { return fmt.Sprintf("https://victim.example/%d", i) })
	t.Want(n <= 20, "60 ids at one host caused %d fetches", n)
	for i := range 60 {
		w.web.site(fmt.Sprintf("s%d.victim.example", i), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) })
	}
	w.clock.Move(time.Hour)
	n = count(func(i int) string { return fmt.Sprintf("https://s%d.victim.example/", i) + "c" })
	t.Want(n <= 20, "60 ids at sub-domains of one host caused %d fetches", n)
}
