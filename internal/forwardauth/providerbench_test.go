package forwardauth

import (
	"bytes"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// carrying is cached for a server that gets the provider's token, of so many bytes, which
// comes in the client's token.
func carrying(tb testing.TB, size int) (*fixture, *http.Request) {
	f, r := cached(tb)
	res := f.Resources.Host("a.example").Covering("/mcp")
	res.ProviderToken = &resource.ProviderToken{Token: "access", Header: "X-Forwarded-Access-Token", MaxBytes: 3800}
	f.names = nil // New adds them
	f.Endpoint = New(*f.Endpoint)
	raw := f.mint(tb, f.issuer, aMCP, "read write", token.Person{Email: "jane@example.com", Groups: []string{"staff", "a,b"}, Provider: token.Provider(strings.Repeat("t", size))})
	r.Header.Set("Authorization", "Bearer "+raw)
	if resp := f.ask(tb, r); resp.StatusCode != 200 || len(resp.Header.Get("X-Forwarded-Access-Token")) != size {
		tb.Fatalf("status %d", resp.StatusCode)
	}
	return f, r
}

// A decision about a token that carries the provider's allocates nothing either.
func TestAllocationsOfCarriedTokens(t *testing.T) {
	f, r := carrying(t, 2500)
	if n := testing.AllocsPerRun(500, func() {
		q := read(r)
		if d := f.Decide(t.Context(), &q); !d.Allowed() {
			t.Fatal(d.Reason)
		}
	}); n > 0 {
		t.Errorf("a decision allocates %v times", n)
	}
}

// BenchmarkProviderTokens asks about a token seen before of a server that gets no token of
// the provider, and of one that does in each form, in turn: the decision alone, and over
// HTTP, where a handler that does nothing gets the same requests. It reports the median of
// each, and what it is of the one without in the same round.
func BenchmarkProviderTokens(b *testing.B) {
	kinds := []func() (*fixture, *http.Request){
		func() (*fixture, *http.Request) { return cached(b) }, func() (*fixture, *http.Request) { return held(b) }, func() (*fixture, *http.Request) { return carrying(b, 1200) },
	}
	b.Run("decision", func(b *testing.B) {
		var turns []turn
		for i, name := range []string{"none", "held", "client"} {
			f, r := kinds[i]()
			turns = append(turns, turn{name, func() {
				q := read(r)
				if d := f.Decide(b.Context(), &q); !d.Allowed() {
					b.Fatal(d.Reason)
				}
			}})
		}
		inTurn(b, turns)
	})
	b.Run("HTTP", func(b *testing.B) {
		bare := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		var turns []turn
		for i, name := range []string{"none", "held", "client"} {
			f, r := kinds[i]()
			turns = append(turns, turn{name, rawClient(b, f, r)}, turn{"bare-" + name, rawClient(b, bare, r)})
		}
		inTurn(b, turns)
	})
}

// turn is one that is asked in turn.
type turn struct {
	name string
	ask  func()
}

func inTurn(b *testing.B, turns []turn) {
	const slice = 200 // requests, long enough for the clock
	took, ratios := make([][]float64, len(turns)), make([][]float64, len(turns))
	for b.Loop() {
		for i, t := range turns {
			began := time.Now()
			for range slice {
				t.ask()
			}
			took[i] = append(took[i], float64(time.Since(began))/slice)
			ratios[i] = append(ratios[i], took[i][len(took[i])-1]/took[0][len(took[0])-1])
		}
	}
	b.ReportMetric(0, "ns/op") // of a round of all: says nothing
	for i, t := range turns {
		slices.Sort(took[i])
		slices.Sort(ratios[i])
		b.ReportMetric(took[i][len(took[i])/2], "ns/"+t.name)
		b.ReportMetric(ratios[i][len(ratios[i])/2], "x/"+t.name)
	}
}

// rawClient asks over a connection of its own. It writes the same bytes each time and
// reads to the end of the headers, so that the time is the server's.
func rawClient(b *testing.B, h http.Handler, r *http.Request) func() {
	server := httptest.NewServer(h)
	b.Cleanup(server.Close)
	conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { conn.Close() })
	var request bytes.Buffer
	r = r.Clone(b.Context())
	if err := r.Write(&request); err != nil {
		b.Fatal(err)
	}
	answer := make([]byte, 16<<10)
	return func() {
		if _, err := conn.Write(request.Bytes()); err != nil {
			b.Fatal(err)
		}
		n := 0
		for !bytes.HasSuffix(answer[:n], []byte("\r\n\r\n")) {
			more, err := conn.Read(answer[n:])
			if err != nil {
				b.Fatal(err)
			}
			n += more
		}
		if !bytes.HasPrefix(answer, []byte("HTTP/1.1 200")) {
			b.Fatalf("%.100s", answer)
		}
	}
}
