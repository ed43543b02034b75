package catalog

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkTenThousandServers reads 10⁴ MCP servers over HTTP, of which one in
// fifty hangs, as after a start. It counts the CPU time of both sides, and how
// long the clock ran until all that answer were known.
func BenchmarkTenThousandServers(b *testing.B) {
	const servers = 10_000
	answers := modernServer(func(w http.ResponseWriter, id, _ string) {
		jsonAnswer(w, id, `{"resultType":"complete","tools":[`+tool("a")+`,`+tool("b")+`],"_meta":{"scopes":[{"name":"r","tools":["a"]}]}}`)
	})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/hang") {
			io.Copy(io.Discard, r.Body) // or the server does not see that the client leaves
			<-r.Context().Done()
			return
		}
		answers.ServeHTTP(w, r)
	}))
	defer srv.Close()
	defer srv.CloseClientConnections()
	var o Options
	for i := range servers {
		path := fmt.Sprint("/well/", i)
		if i%50 == 0 {
			path = fmt.Sprint("/hang/", i)
		}
		o.Targets = append(o.Targets, Target{Key: path, Endpoint: srv.URL + path})
	}
	for b.Loop() {
		o.Fetch = new(Fetcher).Fetch
		c := New(o)
		ctx, stop := context.WithCancel(b.Context())
		began, used := time.Now(), cpuTime(b)
		go c.Run(ctx)
		for known(c, "/well") < servers-servers/50 {
			time.Sleep(50 * time.Millisecond)
		}
		b.ReportMetric((cpuTime(b) - used).Seconds(), "cpu-s/op")
		b.ReportMetric(time.Since(began).Seconds(), "wall-s/op")
		stop()
	}
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
