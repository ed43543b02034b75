package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/postgres"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard/redis"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// unused returns an address where nothing listens.
func unused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// The shared memory is down: what needs it is refused with 503, what does not goes on.
func TestGuardDown(t *testing.T) {
	for name, section := range map[string]config.GuardFile{
		"redis":    {Backend: "redis", Redis: redis.Config{Addresses: []string{unused(t)}}},
		"postgres": {Backend: "postgres", Postgres: postgres.Config{Address: unused(t), Database: "d", Username: "u"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := servertest.Start(t, servertest.Options{})
			c := before.NewClient(t, servertest.Host, servertest.WithRefresh)
			k := servertest.SignIn(t, c)
			a := c.Begin()
			code := a.Code(t, before.NewBrowser())

			s := servertest.Start(t, servertest.Options{Clock: before.Clock, Edit: func(f *config.File) { f.Guard = section }})
			t.Run("ready, and says what does not work", func(t *testing.T) {
				status, body := 0, ""
				for range 1200 { // ready only after it has asked
					if status, body = s.Management(t, "/readyz"); status == http.StatusOK {
						break
					}
					time.Sleep(50 * time.Millisecond)
				}
				if status != http.StatusOK || !strings.Contains(body, "degraded") || !strings.Contains(body, "guard") {
					t.Errorf("%d %s", status, body)
				}
				if _, metrics := s.Management(t, "/metrics"); !strings.Contains(metrics, "\nmcp_forward_auth_guard_up 0\n") {
					t.Error("the metric does not say that it is down")
				}
			})
			t.Run("requests with valid tokens pass", func(t *testing.T) {
				s.MustPass(t, servertest.Resource, k.Access)
				s.MustNotPass(t, servertest.Resource, k.Access+"x", "invalid_token")
			})
			unavailable := func(t *testing.T, answer *servertest.Answer) {
				t.Helper()
				if answer.Status != http.StatusServiceUnavailable || answer.String("error") != "temporarily_unavailable" || answer.Header.Get("Retry-After") == "" {
					t.Errorf("%d %v %s", answer.Status, answer.Header, answer.Body)
				}
			}
			t.Run("a code gets 503 and is not lost", func(t *testing.T) {
				at := *a
				at.Client = c.On(s)
				unavailable(t, at.Exchange(t, code))
				if e := s.Log.Last(audit.TokenRefused); e["reason"] != "guard_unavailable" {
					t.Errorf("audit says %v", e)
				}
				if got := a.Exchange(t, code); got.Status != http.StatusOK {
					t.Errorf("where the memory works: %d %s", got.Status, got.Body)
				}
			})
			t.Run("a refresh gets 503 and is not lost", func(t *testing.T) {
				unavailable(t, c.On(s).Token(t, servertest.RefreshForm(c, k.Refresh)))
				k.Again(t)
			})
			t.Run("a revocation gets 503, and holds here", func(t *testing.T) {
				unavailable(t, servertest.Revoke(t, c.On(s), k.Access))
				s.MustNotPass(t, servertest.Resource, k.Access, "invalid_token")
			})
			t.Run("a sign-in gets 503", func(t *testing.T) {
				b := s.NewBrowser()
				page := b.Consent(t, c.On(s).Begin().URL())
				page = b.Open(t, "https://mcp.example.com"+b.Submit(t, page, "decision", "allow").Location())
				page = b.Submit(t, page, "", "")
				if page.Status != http.StatusServiceUnavailable || page.Header.Get("Retry-After") == "" {
					t.Errorf("%d %v\n%s", page.Status, page.Header, page.Text())
				}
			})
		})
	}
}

// A replica, or a server whose memory or disk is full, answers when it is read: the poll goes
// on, and no one can sign in. It is as down as one that is not there.
func TestGuardTakesNoWrites(t *testing.T) {
	var refuses atomic.Bool
	address := fakeRedis(t, &refuses)
	s := servertest.Start(t, servertest.Options{Edit: func(f *config.File) {
		f.Guard = config.GuardFile{Backend: "redis", Redis: redis.Config{Addresses: []string{address}, KeyPrefix: "x:"}}
	}})
	up := func(want float64) bool {
		for range 1200 {
			if servertest.Metric(t, s, "mcp_forward_auth_guard_up") == want {
				return true
			}
			time.Sleep(50 * time.Millisecond)
		}
		return false
	}
	if !up(1) {
		t.Fatal("it is down from the beginning")
	}
	refuses.Store(true)
	a := s.NewClient(t, servertest.Host, nil).Begin()
	b := s.NewBrowser()
	page := b.Consent(t, a.URL())
	page = b.Open(t, "https://mcp.example.com"+b.Submit(t, page, "decision", "allow").Location())
	if page = b.Submit(t, page, "", ""); page.Status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", page.Status, page.Text())
	}
	if !up(0) {
		t.Error("the metric says that it is up")
	}
	if _, body := s.Management(t, "/readyz"); !strings.Contains(body, "takes no writes") {
		t.Error(body)
	}
	if log := s.Log.String(); !strings.Contains(log, "READONLY") || !strings.Contains(log, "name the primary in guard.redis.addresses") {
		t.Error("the log does not say what to do")
	}
	refuses.Store(false)
	if !up(1) {
		t.Error("it stays down")
	}
}

// fakeRedis is a server that keeps nothing, and takes no writes while refuses is set.
func fakeRedis(t *testing.T, refuses *atomic.Bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for r := bufio.NewReader(conn); ; {
					words, err := command(r)
					if err != nil {
						return
					}
					if _, err := io.WriteString(conn, reply(words, refuses.Load())); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// command reads one command of the protocol of Redis: a list of texts.
func command(r *bufio.Reader) ([]string, error) {
	number := func() (n int, err error) {
		line, err := r.ReadString('\n')
		if err != nil || len(line) < 2 {
			return 0, io.EOF
		}
		return strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	n, err := number()
	if err != nil {
		return nil, err
	}
	words := make([]string, n)
	for i := range words {
		size, err := number()
		if err != nil {
			return nil, err
		}
		text := make([]byte, size+2)
		if _, err := io.ReadFull(r, text); err != nil {
			return nil, err
		}
		words[i] = string(text[:size])
	}
	return words, nil
}

func reply(words []string, refuses bool) string {
	writes := strings.Contains(strings.Join(words, " "), "'SET'") || strings.EqualFold(words[0], "xadd")
	switch strings.ToLower(words[0]) {
	case "hello":
		return "-ERR unknown command 'hello'\r\n"
	case "xrange":
		return "*0\r\n"
	case "eval", "xadd":
		if writes && refuses {
			return "-READONLY You can't write against a read only replica.\r\n"
		}
		if writes {
			return ":1\r\n"
		}
		return fmt.Sprintf("*2\r\n$-1\r\n*2\r\n$10\r\n%d\r\n$1\r\n0\r\n", time.Now().Unix())
	}
	return "+OK\r\n"
}
