//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// minter makes tokens as the service does, with the same seed. A thousand are in
// use at a time; each second some of them are replaced.
type minter struct {
	issuer *token.Issuer
	mu     sync.RWMutex
	tokens []string
}

const (
	tokensInUse   = 1000
	newEachSecond = 25
)

func newMinter(ctx context.Context, seed []byte, lifetime time.Duration) (*minter, error) {
	sealing, err := seal.NewKeyring(time.Now, seed)
	if err != nil {
		return nil, err
	}
	keys, err := keyset.New(keyset.Options{
		Sources: []keyset.Source{keyset.Seed{Secret: seed, Period: rotation}}, Period: rotation, TokenLifetime: lifetime, Now: time.Now,
	})
	if err != nil {
		return nil, err
	}
	go keys.Run(ctx)
	m := &minter{issuer: &token.Issuer{Keys: keys, Persons: token.NewPersons(sealing), Lifetime: lifetime, Now: time.Now}}
	for range tokensInUse {
		t, err := m.mint()
		if err != nil {
			return nil, err
		}
		m.tokens = append(m.tokens, t)
	}
	// All are replaced every 40 seconds, before they are dead.
	go func() {
		tick := time.NewTicker(time.Second / newEachSecond)
		defer tick.Stop()
		for at := 0; ctx.Err() == nil; at = (at + 1) % tokensInUse {
			<-tick.C
			if t, err := m.mint(); err == nil {
				m.mu.Lock()
				m.tokens[at] = t
				m.mu.Unlock()
			}
		}
	}()
	return m, nil
}

func (m *minter) mint() (string, error) {
	user := rand.Text()[:12]
	t, _, err := m.issuer.Mint(token.Claims{
		Issuer: issuer, Audience: issuer + "/mcp", Subject: "idp.example.com:" + user, ClientID: "dcr1." + strings.Repeat(rand.Text(), 11),
		Scope: "notes:read notes:write", Family: rand.Text(),
	}, token.Person{Email: user + "@example.com", Name: "A User", Groups: []string{"engineering", "admins"}})
	return t, err
}

func (m *minter) any() string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.tokens[mathrand.IntN(len(m.tokens))]
}

// counts are what was asked and what went wrong.
type counts struct {
	asked, signIns, errors atomic.Int64

	mu    sync.Mutex
	first error
	took  []time.Duration // a sample, since the last read
}

type totals struct{ asked, signIns, errors int64 }

func (c *counts) read() (totals, time.Duration) {
	c.mu.Lock()
	took := c.took
	c.took = nil
	c.mu.Unlock()
	var p99 time.Duration
	if slices.Sort(took); len(took) > 0 {
		p99 = took[len(took)*99/100]
	}
	return totals{c.asked.Load(), c.signIns.Load(), c.errors.Load()}, p99
}

func (c *counts) failed(err error) {
	c.errors.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first == nil {
		c.first = err
	}
}

// ask keeps one connection busy, as a gateway does: one request each pause, or
// as fast as it gets answers if that is slower.
func (c *counts) ask(ctx context.Context, address string, m *minter, pause time.Duration) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		c.failed(err)
		return
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for next := time.Now(); ctx.Err() == nil; next = next.Add(pause) {
		if wait := time.Until(next); wait > 0 {
			time.Sleep(wait)
		} else if wait < -time.Second {
			next = time.Now() // the machine does not bear the rate
		}
		bearer, want := m.any(), http.StatusOK
		switch n := mathrand.IntN(100); {
		case n < 3:
			bearer, want = "", http.StatusUnauthorized
		case n < 5: // a signature that does not hold
			dot := strings.LastIndexByte(bearer, '.')
			bearer, want = bearer[:dot+1]+"AAAA"+bearer[dot+5:], http.StatusUnauthorized
		}
		began := time.Now()
		if err := exchange(conn, answers, bearer, want); err != nil {
			if ctx.Err() == nil {
				c.failed(err)
			}
			return
		}
		c.asked.Add(1)
		if mathrand.IntN(20) == 0 {
			c.mu.Lock()
			c.took = append(c.took, time.Since(began))
			c.mu.Unlock()
		}
	}
}

// exchange sends what nginx sends.
func exchange(conn net.Conn, answers *bufio.Reader, bearer string, want int) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET /authenticate HTTP/1.1\r\nHost: %s\r\nX-Original-URL: %s/mcp\r\nX-Original-Method: POST\r\nX-Forwarded-For: 192.0.2.1\r\n"+
		"MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: notes_list\r\n", host, issuer)
	if bearer != "" {
		b.WriteString("Authorization: Bearer " + bearer + "\r\n")
	}
	b.WriteString("\r\n")
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write(b.Bytes()); err != nil {
		return err
	}
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != want {
		err = fmt.Errorf("/authenticate answered %d, not %d: %s %s", resp.StatusCode, want, body, resp.Header.Get("WWW-Authenticate"))
	}
	return err
}
