package redis

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/guardtest"
)

// Whatever kind of installation, a server that accepts and never answers, or is
// not there, is an error soon.
func TestSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	t.Cleanup(func() { l.Close() })
	silent, closed := []string{l.Addr().String()}, []string{gone.Addr().String()}
	var wg sync.WaitGroup
	for _, c := range []Config{
		{Addresses: silent},
		{Addresses: silent, Cluster: true},
		{Addresses: silent, SentinelMaster: "main"},
		{Addresses: silent, TLS: conf.TLS{Enabled: true}},
		{Addresses: closed},
		{Addresses: closed, Cluster: true},
		{Addresses: closed, SentinelMaster: "main"},
	} {
		wg.Go(func() { // not t.Parallel: they wait, whatever the number of processors
			s := New(c, time.Now)
			defer s.Close()
			guardtest.Silent(t, &guard.Shared{Store: s, Now: time.Now})
		})
	}
	wg.Wait()
}
