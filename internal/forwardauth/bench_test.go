package forwardauth

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// cached returns an endpoint and a request for a tool, with a token that the
// endpoint has seen.
func cached(tb testing.TB) (*fixture, *http.Request) {
	f := newFixture(tb, defaultHosts, nil)
	r := nginxRequest("POST", aMCP, append(call("get"), "Authorization", "Bearer "+f.token(tb, aMCP, "read write"))...)
	var scopes Scopes = f.scopes // making an interface of a struct allocates; the service has pointers
	f.Endpoint.Scopes = func(*resource.Resource) Scopes { return scopes }
	f.Endpoint.Count = func(Outcome) {}
	if resp := f.ask(tb, r); resp.StatusCode != 200 {
		tb.Fatalf("status %d", resp.StatusCode)
	}
	return f, r
}

// A decision about a token already seen allocates nothing.
func TestAllocations(t *testing.T) {
	f, r := cached(t)
	decide := testing.AllocsPerRun(500, func() {
		q := read(r)
		if d := f.Decide(t.Context(), &q); !d.Allowed() {
			t.Fatal(d.Reason)
		}
	})
	if decide > 0 {
		t.Errorf("a decision allocates %v times", decide)
	}
	w := &recorder{header: http.Header{}}
	serve := testing.AllocsPerRun(500, func() { f.ServeHTTP(w, r) })
	if serve > 1 {
		t.Errorf("an answer allocates %v times", serve)
	}
}

// recorder is a ResponseWriter that costs nothing.
type recorder struct {
	header http.Header
	status int
}

func (w *recorder) Header() http.Header         { return w.header }
func (w *recorder) WriteHeader(status int)      { w.status = status }
func (w *recorder) Write(b []byte) (int, error) { return len(b), nil }

func BenchmarkDecideCached(b *testing.B) {
	f, r := cached(b)
	b.ReportAllocs()
	for b.Loop() {
		q := read(r)
		if d := f.Decide(b.Context(), &q); !d.Allowed() {
			b.Fatal(d.Reason)
		}
	}
}

func BenchmarkDecideCachedParallel(b *testing.B) {
	f, r := cached(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			q := read(r)
			if d := f.Decide(b.Context(), &q); !d.Allowed() {
				b.Fatal(d.Reason)
			}
		}
	})
}

func BenchmarkDecideCold(b *testing.B) {
	f, r := cached(b)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		f.verified = newCache(1)
		b.StartTimer()
		q := read(r)
		if d := f.Decide(b.Context(), &q); !d.Allowed() {
			b.Fatal(d.Reason)
		}
	}
}

// BenchmarkDecideForged is what a flood of made-up tokens costs. The key's name
// is public, so it is right.
func BenchmarkDecideForged(b *testing.B) {
	refused(b, func(raw string) string {
		payload := strings.Index(raw, ".") + 1
		return raw[:payload+20] + "AAAA" + raw[payload+24:]
	})
}

// BenchmarkDecideBad is the worst: one's own token with another signature.
func BenchmarkDecideBad(b *testing.B) {
	refused(b, func(raw string) string { return raw[:len(raw)-8] + "AAAAAAAA" })
}

func refused(b *testing.B, change func(raw string) string) {
	f, r := cached(b)
	r.Header.Set("Authorization", change(r.Header.Get("Authorization")))
	f.Endpoint.Audit = nil
	b.ReportAllocs()
	for b.Loop() {
		q := read(r)
		if d := f.Decide(b.Context(), &q); d.Allowed() {
			b.Fatal("allowed")
		}
	}
}

// BenchmarkDecideNoToken is what a client's first request costs.
func BenchmarkDecideNoToken(b *testing.B) {
	f, r := cached(b)
	r.Header.Del("Authorization")
	f.Endpoint.Audit = nil
	b.ReportAllocs()
	for b.Loop() {
		q := read(r)
		if d := f.Decide(b.Context(), &q); d.Reason != NoToken {
			b.Fatal(d.Reason)
		}
	}
}

// BenchmarkHandlerCached is to be read beside BenchmarkHandlerBare, a handler
// that does nothing, over the same kind of connection.
func BenchmarkHandlerCached(b *testing.B) {
	f, r := cached(b)
	overHTTP(b, f, r)
}

func BenchmarkHandlerBare(b *testing.B) {
	_, r := cached(b)
	overHTTP(b, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), r)
}

func overHTTP(b *testing.B, h http.Handler, ask *http.Request) {
	server := httptest.NewServer(h)
	defer server.Close()
	r, err := http.NewRequest(http.MethodGet, server.URL+Path, nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header, r.Host = ask.Header, ask.Host
	b.ReportAllocs()
	for b.Loop() {
		resp, err := server.Client().Do(r)
		if err != nil || resp.StatusCode != http.StatusOK {
			b.Fatal(resp, err)
		}
		resp.Body.Close()
	}
}

// BenchmarkDecideIssued is the first use of a token at the replica that issued
// it, the audit entry included.
func BenchmarkDecideIssued(b *testing.B) {
	f, r := cached(b)
	raw := r.Header.Get("Authorization")[len("Bearer "):]
	known := f.verified.get(digest(raw, f.Resources.Host("a.example").Covering("/mcp")))
	from := provenance{flow: "flow"}
	b.ReportAllocs()
	for b.Loop() {
		known.unused.Store(&from)
		q := read(r)
		if d := f.Decide(b.Context(), &q); !d.Allowed() {
			b.Fatal(d.Reason)
		}
	}
}

// keyed is cached with an API key instead of the token; what it presents is
// found by a hash, as package apikey does it.
func keyed(tb testing.TB) (*fixture, *http.Request) {
	f, r := cached(tb)
	f.Endpoint.Credentials = append(credential.Kinds{keys{}}, f.Endpoint.Credentials...)
	f.Endpoint.asking = make(asking, len(f.Endpoint.Credentials))
	r.Header.Set("Authorization", "Bearer "+benchKey)
	if resp := f.ask(tb, r); resp.StatusCode != 200 {
		tb.Fatalf("status %d", resp.StatusCode)
	}
	return f, r
}

const benchKey = "mfk_AAAAAAAA_0123456789012345678901234567890123456789012_000000"

// keys is a kind of credential that knows one key.
type keys struct{}

func (keys) Recognises(raw string, _ *resource.Resource) bool { return raw == benchKey }

func (keys) Verify(_ string, r *resource.Resource) (credential.Principal, error) {
	who := &policy.Outsider{Person: connector.Identity{Namespace: "apikey", Subject: "ci"}, Client: policy.Client{Kind: "key"}}
	return credential.Principal{
		Issuer: r.Host.Issuer, Audience: r.URI, Subject: "apikey:ci", Client: "apikey:ci", Scope: "read write", Outsider: who,
		Key: &credential.Key{}, ID: "AAAAAAAA", Expires: 1 << 40, Withdrawn: new(atomic.Bool),
	}, nil
}

// BenchmarkDecideKey is to be read beside BenchmarkDecideCached.
func BenchmarkDecideKey(b *testing.B) {
	f, r := keyed(b)
	b.ReportAllocs()
	for b.Loop() {
		q := read(r)
		if d := f.Decide(b.Context(), &q); !d.Allowed() {
			b.Fatal(d.Reason)
		}
	}
}

// A decision about an API key already seen allocates nothing either.
func TestAllocationsOfKeys(t *testing.T) {
	f, r := keyed(t)
	if n := testing.AllocsPerRun(500, func() {
		q := read(r)
		if d := f.Decide(t.Context(), &q); !d.Allowed() {
			t.Fatal(d.Reason)
		}
	}); n > 0 {
		t.Errorf("a decision allocates %v times", n)
	}
}

// held is cached for a server that gets the provider's token, of 1.2 KB, which is held
// here: the client's token is as long as without.
func held(tb testing.TB) (*fixture, *http.Request) {
	f, r := cached(tb)
	res := f.Resources.Host("a.example").Covering("/mcp")
	res.ProviderToken = &resource.ProviderToken{Token: "access", Held: true, Header: "X-Forwarded-Access-Token", HandleHeader: "X-Forwarded-Access-Token-Handle", MaxBytes: 3800}
	f.Endpoint.Credentials = append(credential.Kinds{knower{raw: r.Header.Get("Authorization")[len("Bearer "):]}}, f.Endpoint.Credentials...)
	f.names = nil // New adds them
	f.Endpoint = New(*f.Endpoint)
	if resp := f.ask(tb, r); resp.StatusCode != 200 || len(resp.Header.Get("X-Forwarded-Access-Token")) != 1200 {
		tb.Fatalf("status %d", resp.StatusCode)
	}
	return f, r
}

// knower is a kind of credential that knows one token, and has the provider's for it.
type knower struct{ raw string }

func (h knower) Recognises(raw string, _ *resource.Resource) bool { return raw == h.raw }

func (h knower) Verify(_ string, r *resource.Resource) (credential.Principal, error) {
	return credential.Principal{
		Issuer: r.Host.Issuer, Audience: r.URI, Subject: "jane", Client: "client", Scope: "read write", Email: "jane@example.com", Groups: []string{"staff", "a,b"}, ID: "AAAAAAAA",
		Expires: 1 << 40, Until: 1 << 40, Withdrawn: new(atomic.Bool), ProviderToken: token.Provider(strings.Repeat("t", 1200)),
	}, nil
}

// BenchmarkDecideHeld is to be read beside BenchmarkDecideCached, and
// BenchmarkHandlerHeld beside BenchmarkHandlerCached.
func BenchmarkDecideHeld(b *testing.B) {
	f, r := held(b)
	b.ReportAllocs()
	for b.Loop() {
		q := read(r)
		if d := f.Decide(b.Context(), &q); !d.Allowed() {
			b.Fatal(d.Reason)
		}
	}
}

func BenchmarkHandlerHeld(b *testing.B) {
	f, r := held(b)
	overHTTP(b, f, r)
}

// A decision with the provider's token allocates nothing either, nor does its answer more.
func TestAllocationsOfHeldTokens(t *testing.T) {
	f, r := held(t)
	if n := testing.AllocsPerRun(500, func() {
		q := read(r)
		if d := f.Decide(t.Context(), &q); !d.Allowed() {
			t.Fatal(d.Reason)
		}
	}); n > 0 {
		t.Errorf("a decision allocates %v times", n)
	}
	w := &recorder{header: http.Header{}}
	if n := testing.AllocsPerRun(500, func() { f.ServeHTTP(w, r) }); n > 1 {
		t.Errorf("an answer allocates %v times", n)
	}
}
