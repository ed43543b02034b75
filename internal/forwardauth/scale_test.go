//go:build unix

package forwardauth

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/rule"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// remembering returns an endpoint that remembers n tokens, each of another
// person and of a client that registered itself, and requests for some of them.
// The tokens are no JWTs: a signature takes a millisecond.
func remembering(tb testing.TB, n int) (*fixture, []*http.Request) {
	tb.Helper()
	f := newFixture(tb, defaultHosts, nil)
	f.Endpoint.verified = newCache(2 * n) // so that no shard is full
	var scopes Scopes = f.scopes          // making an interface of a struct allocates; the service has pointers
	f.Endpoint.Scopes = func(*resource.Resource) Scopes { return scopes }
	res := f.Resources.All()[0]
	filler := strings.Repeat("t", 1300)
	every := max(1, n/1000)
	var ask []*http.Request
	for i := range n {
		raw := fmt.Sprintf("%s%020d", filler, i)
		t := f.remember(&credential.Principal{
			Subject: fmt.Sprintf("idp.example.com:%020d", i), Client: fmt.Sprintf("dcr1.%0300d", i), ID: fmt.Sprintf("%026d", i), Family: fmt.Sprintf("f%025d", i),
			Scope: "read write", Expires: start.Add(time.Hour).Unix(),
			Email: fmt.Sprintf("user%08d@example.com", i), Groups: []string{"engineering", "admins"},
		}, res)
		f.verified.put(digest(raw, f.Resources.Host("a.example").Covering("/mcp")), t, start.Unix())
		if i%every == 0 {
			ask = append(ask, nginxRequest("POST", res.URI, append(call("list"), "Authorization", "Bearer "+raw)...))
		}
	}
	return f, ask
}

// heap is what is in use, after a collection.
func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func TestMemoryOfARememberedToken(t *testing.T) {
	const n, ceiling = 50_000, 400
	before := heap()
	f, _ := remembering(t, n)
	each := (heap() - before) / n
	t.Logf("%.0f bytes for each of %d tokens", each, n)
	if each > ceiling {
		t.Errorf("a remembered token takes %.0f bytes, more than %d", each, ceiling)
	}
	runtime.KeepAlive(f)
}

// A flood of tokens that are not good pushes out nothing that is.
func TestFloodEvictsNothing(t *testing.T) {
	f := newFixture(t, defaultHosts, nil)
	f.Endpoint.verified = newCache(shardCount) // one token for each shard
	raw := f.token(t, aMCP, "read")
	if resp := f.ask(t, nginxRequest("POST", aMCP, "Authorization", "Bearer "+raw)); resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	dot := strings.LastIndexByte(raw, '.')
	for i := range 500 {
		bad := fmt.Sprintf("%s%08d%s", raw[:dot+1], i, raw[dot+9:])
		if resp := f.ask(t, nginxRequest("POST", aMCP, "Authorization", "Bearer "+bad)); resp.StatusCode != http.StatusUnauthorized {
			t.Fatal(resp.Status)
		}
	}
	if f.verified.get(digest(raw, f.Resources.Host("a.example").Covering("/mcp"))) == nil {
		t.Error("the good token is forgotten")
	}
}

// decideAll reports CPU time too, which a busy machine changes less.
func decideAll(b *testing.B, f *fixture, ask []*http.Request) {
	b.ReportAllocs()
	began := cpuTime(b)
	defer func() { b.ReportMetric(float64(cpuTime(b)-began)/float64(b.N), "cpu-ns/op") }()
	for i := 0; b.Loop(); i++ {
		q := read(ask[i%len(ask)])
		if d := f.Decide(b.Context(), &q); !d.Allowed() {
			b.Fatal(d.Reason)
		}
	}
}

func cpuTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

func BenchmarkAmongTokens(b *testing.B) {
	for _, n := range []int{1, 1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			before := heap()
			f, ask := remembering(b, n)
			each := (heap() - before) / float64(n)
			decideAll(b, f, ask)
			if n > 1 {
				b.ReportMetric(each, "B/token")
			}
		})
	}
}

func BenchmarkAmongHosts(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var hosts strings.Builder
			for i := range n {
				fmt.Fprintf(&hosts, "h%d.example/mcp ", i)
			}
			f := newFixture(b, hosts.String(), nil)
			var ask []*http.Request
			for i := 0; i < n; i += max(1, n/100) {
				uri := fmt.Sprintf("https://h%d.example/mcp", i)
				ask = append(ask, nginxRequest("POST", uri, append(call("list"), "Authorization", "Bearer "+f.token(b, uri, "read"))...))
			}
			for _, r := range ask {
				f.ask(b, r) // so that the token is known
			}
			decideAll(b, f, ask)
		})
	}
}

// BenchmarkAmongScopes is with a token that has all scopes, of which the last
// opens the tool.
func BenchmarkAmongScopes(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			names := make([]string, n)
			for i := range names {
				names[i] = fmt.Sprintf("s%d", i)
			}
			f := newFixture(b, defaultHosts, func(_ string, r *rule.Rules) {
				for _, name := range names {
					r.Scopes = append(r.Scopes, rule.Scope{Name: name})
				}
			})
			f.scopes.names, f.scopes.tools = names, map[string][]string{"list": {names[n-1]}}
			res := f.Resources.All()[0]
			raw := "not.a.jwt"
			f.verified.put(digest(raw, res), f.remember(&credential.Principal{Subject: "jane", ID: "j", Scope: strings.Join(names, " "), Expires: start.Add(time.Hour).Unix()}, res), start.Unix())
			decideAll(b, f, []*http.Request{nginxRequest("POST", res.URI, append(call("list"), "Authorization", "Bearer "+raw)...)})
		})
	}
}
