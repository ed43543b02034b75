//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// decide is the path of a decision.
const decide = "/authenticate"

// request is what nginx sends to forward-auth: the client's headers and its own.
func request(token string) []byte {
	if token == "" {
		return requestTo(host, "", "")
	}
	return requestTo(host, "Bearer "+token, "")
}

// requestTo is request for another host, with the value of Authorization and a DPoP
// proof; "" for none of either.
func requestTo(host, authorization, proof string) []byte {
	return requestAt(decide, host, authorization, proof)
}

func requestAt(path, host, authorization, proof string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nX-Original-URL: https://%s/mcp\r\nX-Original-Method: POST\r\n", path, host, host)
	b.WriteString("X-Real-IP: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n" +
		"User-Agent: mcp-client/1.0\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/list\r\n")
	if authorization != "" {
		b.WriteString("Authorization: " + authorization + "\r\n")
	}
	if proof != "" {
		b.WriteString("DPoP: " + proof + "\r\n")
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

func requests(tokens []string) [][]byte {
	out := make([][]byte, len(tokens))
	for i, t := range tokens {
		out[i] = request(t)
	}
	return out
}

// pool is a few connections to one server, kept alive as a gateway's are.
type pool struct{ conns []*connection }

type connection struct {
	net.Conn
	answers *bufio.Reader
}

func dial(address string, n int) (*pool, error) {
	p := &pool{}
	for range n {
		c, err := net.Dial("tcp", address)
		if err != nil {
			p.close()
			return nil, err
		}
		p.conns = append(p.conns, &connection{c, bufio.NewReader(c)})
	}
	return p, nil
}

func (p *pool) close() {
	for _, c := range p.conns {
		c.Close()
	}
}

// send sends count requests, going round, over all connections at once. Every
// answer must have status. It returns how long each took.
func (p *pool) send(requests [][]byte, count int, status string) ([]time.Duration, error) {
	took := make([][]time.Duration, len(p.conns))
	failed := make([]error, len(p.conns))
	var wg sync.WaitGroup
	for at, c := range p.conns {
		wg.Go(func() {
			c.SetDeadline(time.Now().Add(time.Minute))
			for i := at; i < count && failed[at] == nil; i += len(p.conns) {
				began := time.Now()
				failed[at] = c.exchange(requests[i%len(requests)], status)
				took[at] = append(took[at], time.Since(began))
			}
		})
	}
	wg.Wait()
	var all []time.Duration
	for _, t := range took {
		all = append(all, t...)
	}
	return all, errors.Join(failed...)
}

func (c *connection) exchange(request []byte, status string) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if !strings.HasPrefix(resp.Status, status) {
		return fmt.Errorf("answered %s, want %s", resp.Status, status)
	}
	return nil
}
