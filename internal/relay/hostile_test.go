package relay_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/relay"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// A body that does not come, or comes byte by byte, is given up, and reaches no
// server. Meanwhile others are served.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes as long as a body may")
	}
	s := serve(t, echo)
	for name, pause := range map[string]time.Duration{"silent": time.Hour, "a byte a second": time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", s.Address())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			began := time.Now()
			conn.SetDeadline(began.Add(time.Minute))
			fmt.Fprintf(conn, "POST /mcp HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
				servertest.Host, s.token, len(look), look[:10])
			go func() {
				for _, c := range []byte(look[10:]) {
					time.Sleep(pause)
					if _, err := conn.Write([]byte{c}); err != nil {
						return
					}
				}
			}()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err == nil && resp.StatusCode < 400 {
				t.Errorf("%s", resp.Status)
			}
			if took := time.Since(began); took > 45*time.Second {
				t.Errorf("given up after %s", took)
			}
			if s.last() != nil {
				t.Error("the server got something")
			}
		})
	}
}

// A client that begins requests and takes them back at once holds no more of the
// server than its connection may have under way, and others are served.
func TestBurstsOfResets(t *testing.T) {
	t.Parallel()
	const bursts, each = 20, 200
	var now, most, all atomic.Int64
	s := serveAt(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Tenant") != "burst" {
			echo(w, r)
			return
		}
		all.Add(1)
		for n := now.Add(1); ; {
			if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		defer now.Add(-1)
		select {
		case <-r.Context().Done(): // taken back
		case <-time.After(20 * time.Second):
			t.Error("a request that was taken back goes on at the server")
		}
	}, func(f *config.File) { f.Listen.H2C = true })
	ended := 0
	for range bursts {
		ended += burst(t, s, each, func() bool { return now.Load() > 0 })
	}
	if a := s.post(t, look); a.Status != http.StatusOK {
		t.Errorf("another client: status %d, want %v: %s", a.Status, http.StatusOK, a.Body)
	}
	for deadline := time.Now().Add(10 * time.Second); now.Load() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d requests go on at the server", now.Load())
		}
	}
	if n := most.Load(); n == 0 || n > 1000 {
		t.Errorf("%d requests at once reached the server", n)
	}
	t.Logf("of %d requests that were taken back %d reached the server, %d at once; %d connections were ended", bursts*each, all.Load(), most.Load(), ended)
}

// burst opens a connection and begins n requests. It takes every other one back at
// once, and the rest together when the server has some. It returns 1 if the service
// has ended the connection before.
func burst(t *testing.T, s *served, n int, arrived func() bool) int {
	t.Helper()
	conn, err := net.Dial("tcp", s.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	go io.Copy(io.Discard, conn)
	io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, nil)
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := range n {
		block.Reset()
		for _, f := range []hpack.HeaderField{
			{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: servertest.Host}, {Name: ":path", Value: "/mcp"},
			{Name: "authorization", Value: "Bearer " + s.token}, {Name: "content-type", Value: "application/json"}, {Name: "x-tenant", Value: "burst"},
		} {
			if err := encoder.WriteField(f); err != nil {
				t.Fatal(err)
			}
		}
		id := uint32(2*i + 1)
		if framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true}) != nil ||
			framer.WriteData(id, true, []byte(look)) != nil || i%2 == 0 && framer.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
			return 1
		}
	}
	for wait := time.Now(); !arrived() && time.Since(wait) < 5*time.Second; {
		time.Sleep(time.Millisecond)
	}
	for i := 1; i < n; i += 2 {
		if framer.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel) != nil {
			return 1
		}
	}
	return 0
}

// No header that servers take for a person's, or for a gateway's, reaches a server
// with what a client wrote in it: any name of the list, in any spelling, as a header,
// twice, named by Connection, or as a trailer.
func FuzzNoListedHeaderReachesServer(f *testing.F) {
	s := serve(f, echo)
	listed := slices.Clone(relay.KeptFromServer)
	for _, prefix := range relay.KeptFromServerBelow {
		listed = append(listed, prefix+"User", prefix+"X")
	}
	listed = append(listed, "X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Groups", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto")
	kept := map[string]bool{}
	for _, name := range listed {
		kept[relay.Flat(name)] = true
	}
	for i := range listed {
		f.Add(uint16(i), uint64(0), uint8(i), "X-Other")
		f.Add(uint16(i), uint64(i)*0x9e3779b97f4a7c15, uint8(i), listed[i])
	}
	conn := &keptAlive{address: s.Address()}
	f.Cleanup(conn.close)
	f.Fuzz(func(t *testing.T, which uint16, how uint64, where uint8, other string) {
		s.forget()
		name := spelled(listed[int(which)%len(listed)], how)
		conn.send(t, hostileRequest(s.token, name, line(other), where))
		got := s.last()
		if got == nil {
			return // refused
		}
		for name, values := range got.Header {
			flat := relay.Flat(name)
			below := slices.ContainsFunc(relay.KeptFromServerBelow, func(p string) bool { return strings.HasPrefix(flat, relay.Flat(p)) })
			if (kept[flat] || below) && slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, "mallory") }) {
				t.Errorf("%s: %q reaches the server", name, values)
			}
		}
		if len(got.Trailer) > 0 {
			t.Errorf("the trailers %v reach the server", got.Trailer)
		}
	})
}

// spelled writes a name in another way: each bit of how changes one letter.
func spelled(name string, how uint64) string {
	out := []byte(name)
	for i := range out {
		if how>>(i%64)&1 == 0 {
			continue
		}
		switch c := out[i]; {
		case c == '-':
			out[i] = "_. -"[how>>(i%13)%4]
		case 'a' <= c && c <= 'z':
			out[i] = c - 'a' + 'A'
		case 'A' <= c && c <= 'Z':
			out[i] = c - 'A' + 'a'
		}
	}
	return string(out)
}

// line is text without what ends a line of the request.
func line(text string) string { return strings.NewReplacer("\r", "", "\n", "").Replace(text) }

// hostileRequest is a good call with a header of mallory's, once or twice, perhaps named
// by Connection, and perhaps as a trailer.
func hostileRequest(token, name, other string, where uint8) string {
	var b strings.Builder
	fmt.Fprintf(&b, "POST /mcp HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\n%s: mallory\r\n%s: mallory\r\n", servertest.Host, token, name, other)
	if where&1 != 0 {
		fmt.Fprintf(&b, "%s: mallory, too\r\n", name)
	}
	if where&2 != 0 {
		fmt.Fprintf(&b, "Connection: keep-alive, %s\r\n", other)
	}
	if where&4 == 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(look), look)
		return b.String()
	}
	fmt.Fprintf(&b, "Transfer-Encoding: chunked\r\nTrailer: %s\r\n\r\n%x\r\n%s\r\n0\r\n%s: mallory\r\n\r\n", name, len(look), look, name)
	return b.String()
}

// keptAlive is a connection that is opened again when the service has ended it.
type keptAlive struct {
	address string
	conn    net.Conn
	answers *bufio.Reader
}

func (k *keptAlive) close() {
	if k.conn != nil {
		k.conn.Close()
		k.conn = nil
	}
}

func (k *keptAlive) send(t *testing.T, request string) {
	t.Helper()
	if k.conn == nil {
		conn, err := net.Dial("tcp", k.address)
		if err != nil {
			t.Fatal(err)
		}
		k.conn, k.answers = conn, bufio.NewReader(conn)
	}
	k.conn.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(k.conn, request) // a refusal may come before its end
	resp, err := http.ReadResponse(k.answers, nil)
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if resp.Body.Close(); err != nil || resp.Close || resp.StatusCode != http.StatusOK {
		k.close()
	}
}
