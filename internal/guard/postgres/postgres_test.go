package postgres

import (
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/guardtest"
)

// A server that accepts and never answers, or is not there, is an error soon.
func TestSilent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	silent := l.Addr().String()
	var wg sync.WaitGroup
	for _, c := range []Config{
		{Address: silent, Database: "d", Username: "u"},
		{Address: silent, Database: "d", Username: "u", TLS: conf.TLS{Enabled: true, ServerName: "x"}},
		{URL: conf.NewSecret("postgres://u:p@" + silent + "/d?sslmode=disable")},
		{Address: gone.Addr().String(), Database: "d", Username: "u"},
	} {
		wg.Go(func() {
			s, err := New(c)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			guardtest.Silent(t, &guard.Shared{Store: s, Now: time.Now})
		})
	}
	wg.Wait()
}

func TestNewHidesTheURL(t *testing.T) {
	_, err := New(Config{URL: conf.NewSecret("postgres://u:hunter2@h:bad/d?sslmode=nonsense")})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

// The environment has no say where the configuration has pieces.
func TestEnvironment(t *testing.T) {
	t.Setenv("PGHOST", "elsewhere")
	t.Setenv("PGUSER", "somebody")
	t.Setenv("PGPASSWORD", "x")
	t.Setenv("PGSSLMODE", "disable")
	c, err := poolConfig(Config{Address: "db:5433", Database: "d", Username: "u", TLS: conf.TLS{Enabled: true, ServerName: "db"}})
	if err != nil {
		t.Fatal(err)
	}
	if cc := c.ConnConfig; cc.Host != "db" || cc.Port != 5433 || cc.User != "u" || cc.Password != "" || cc.TLSConfig == nil || len(cc.Fallbacks) != 0 {
		t.Errorf("got %+v", cc)
	}
}
