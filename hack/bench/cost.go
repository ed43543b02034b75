//go:build linux

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/mcp-forward-auth/mcp-forward-auth/hack/watched"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop/dpoptest"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
)

// connections is how many a gateway's worker keeps open, about.
const connections = 4

// Requests of one slice. A first use needs a token of its own, which takes a
// millisecond to sign.
const (
	warmSlice = 3000
	coldSlice = 300
)

// Lines that others are read beside, and what their costs are counted in.
const (
	bareToken = "bare net/http, request with a token"
	bareProof = "bare net/http, token and proof"
	bareNone  = "bare net/http, request without"
	bareCall  = "bare gRPC"
	oneRS256  = "one RS256 verification"
	bareES256 = "the same and one ES256 verification"
)

// slice is one line of the table: something of which n are done in a round, and
// the CPU time that they took.
type slice struct {
	name   string
	beside string // the line that it is to be read beside
	n      int
	run    func(round int) (time.Duration, error)
}

// cost measures CPU time per request.
func cost(ctx context.Context, b bench) error {
	tokens, err := b.service.mint(1 + 3*coldSlice*(b.rounds+1))
	if err != nil {
		return err
	}
	l := &lines{ctx: ctx, bench: b, tokens: tokens}
	defer l.close()
	rs256, err := newVerification()
	if err != nil {
		return err
	}
	slices := append(l.overHTTP(), l.overGRPC()...)
	slices = append(slices, slice{oneRS256, bareToken, coldSlice, func(int) (time.Duration, error) { return rs256(coldSlice) }})
	for _, more := range []func() ([]slice, error){l.external, l.carrying, l.bound} {
		some, err := more()
		if err != nil {
			return err
		}
		slices = append(slices, some...)
	}
	if err := l.dial(); err != nil { // now, for a server closes what is idle
		return err
	}
	return measure(b, slices)
}

// lines makes the slices. It has the connections to both processes.
type lines struct {
	ctx context.Context
	bench
	tokens            []string // the first is seen before
	bareHTTP, ourHTTP *pool
	bareGRPC, ourGRPC callers
	closers           []func()
}

func (l *lines) close() {
	for _, f := range l.closers {
		f()
	}
}

func (l *lines) dial() error {
	for _, to := range []struct {
		into    **pool
		address string
	}{{&l.bareHTTP, l.reference.HTTP}, {&l.ourHTTP, l.subject.HTTP}} {
		p, err := dial(to.address, connections)
		if err != nil {
			return err
		}
		*to.into, l.closers = p, append(l.closers, p.close)
	}
	for _, to := range []struct {
		into    *callers
		address string
	}{{&l.bareGRPC, l.reference.GRPC}, {&l.ourGRPC, l.subject.GRPC}} {
		c, err := dialGRPC(to.address, connections)
		if err != nil {
			return err
		}
		*to.into, l.closers = c, append(l.closers, c.close)
	}
	return nil
}

// http is the CPU time of p for n requests, each of which is answered with status.
func (l *lines) http(p *watched.Process, n int, status string, messages func(round int) [][]byte) func(int) (time.Duration, error) {
	return func(round int) (time.Duration, error) {
		to, made := l.ourHTTP, messages(round)
		if p == l.reference {
			to = l.bareHTTP
		}
		return spent(p, func() error { _, err := to.send(made, n, status); return err })
	}
}

// with are requests with tokens.
func with(tokens func(round int) []string) func(int) [][]byte {
	return func(round int) [][]byte { return requests(tokens(round)) }
}

func (l *lines) known(int) []string { return l.tokens[:1] }

// fresh are tokens that only this kind of slice and this round use.
func (l *lines) fresh(kind int) func(int) []string {
	return func(round int) []string {
		from := 1 + coldSlice*(3*round+kind)
		return l.tokens[from : from+coldSlice]
	}
}

func (l *lines) overHTTP() []slice {
	none := with(func(int) []string { return []string{""} })
	invalid := with(func(round int) []string { return spoil(l.fresh(2)(round)) })
	forged := with(func(round int) []string { return forge(l.fresh(2)(round)) })
	key := with(func(int) []string { return []string{l.service.apiKey} })
	return []slice{
		{bareToken, bareToken, warmSlice, l.http(l.reference, warmSlice, "200", with(l.known))},
		{bareNone, bareNone, warmSlice, l.http(l.reference, warmSlice, "200", none)},
		{"no token: 401", bareNone, warmSlice, l.http(l.subject, warmSlice, "401", none)},
		{"token seen before: 200", bareToken, warmSlice, l.http(l.subject, warmSlice, "200", with(l.known))},
		{"token's first use: 200", bareToken, coldSlice, l.http(l.subject, coldSlice, "200", with(l.fresh(0)))},
		{"good token, other signature: 401", bareToken, coldSlice, l.http(l.subject, coldSlice, "401", invalid)},
		{"forged token: 401", bareToken, coldSlice, l.http(l.subject, coldSlice, "401", forged)},
		{"API key, seen before: 200", bareToken, warmSlice, l.http(l.subject, warmSlice, "200", key)},
	}
}

func (l *lines) overGRPC() []slice {
	grpc := func(p *watched.Process, to *callers, n int, tokens func(round int) []string) func(int) (time.Duration, error) {
		return func(round int) (time.Duration, error) {
			var messages []*auth.CheckRequest = checks(tokens(round))
			return spent(p, func() error { return to.send(l.ctx, messages, n) })
		}
	}
	return []slice{
		{bareCall, bareCall, warmSlice, grpc(l.reference, &l.bareGRPC, warmSlice, l.known)},
		{"gRPC, token seen before", bareCall, warmSlice, grpc(l.subject, &l.ourGRPC, warmSlice, l.known)},
		{"gRPC, token's first use", bareCall, coldSlice, grpc(l.subject, &l.ourGRPC, coldSlice, l.fresh(1))},
	}
}

// external are the lines of tokens of another authorization server.
func (l *lines) external() ([]slice, error) {
	external, err := l.service.external.mint(1 + coldSlice*(l.rounds+1))
	known := with(func(int) []string { return external[:1] })
	fresh := with(func(round int) []string { return external[1+coldSlice*round : 1+coldSlice*(round+1)] })
	return []slice{
		{"another server's JWT, seen before: 200", bareToken, warmSlice, l.http(l.subject, warmSlice, "200", known)},
		{"another server's JWT, first use: 200", bareToken, coldSlice, l.http(l.subject, coldSlice, "200", fresh)},
	}, err
}

// carrying is the line of an MCP server that gets the identity provider's token.
func (l *lines) carrying() ([]slice, error) {
	tokens, err := l.service.mintFor(driveHost, token.Provider(strings.Repeat("p", 1200)), "", 1)
	if err != nil {
		return nil, err
	}
	message := func(int) [][]byte { return [][]byte{requestTo(driveHost, "Bearer "+tokens[0], "")} }
	return []slice{{"carrying a provider's token of 1.2 KB, seen before: 200", bareToken, warmSlice, l.http(l.subject, warmSlice, "200", message)}}, nil
}

// bound are the lines of tokens that are bound to a key (RFC 9449). Each request has a
// proof of its own, made beforehand.
func (l *lines) bound() ([]slice, error) {
	known := dpoptest.New("ES256")
	tokens, err := l.service.mintFor(boundHost, "", known.Thumbprint(), 1)
	if err != nil {
		return nil, err
	}
	keys, strangers, err := l.service.mintBound((l.rounds + 1) * coldSlice)
	if err != nil {
		return nil, err
	}
	ask := func(path string, key *dpoptest.Key, raw string) []byte {
		return requestAt(path, boundHost, "DPoP "+raw, key.Proof("POST", "https://"+boundHost+"/mcp", dpoptest.Token(raw)))
	}
	proven := func(path string) func(int) [][]byte {
		return func(int) (out [][]byte) {
			for range warmSlice {
				out = append(out, ask(path, known, tokens[0]))
			}
			return out
		}
	}
	first := func(round int) (out [][]byte) {
		for i := round * coldSlice; i < (round+1)*coldSlice; i++ {
			out = append(out, ask(decide, keys[i], strangers[i]))
		}
		return out
	}
	return []slice{
		{bareProof, bareProof, warmSlice, l.http(l.reference, warmSlice, "200", proven(decide))},
		{bareES256, bareProof, warmSlice, l.http(l.reference, warmSlice, "200", proven(verifyPath))},
		{"bound token, proof of a key seen before: 200", bareProof, warmSlice, l.http(l.subject, warmSlice, "200", proven(decide))},
		{"bound token and key, both new: 200", bareProof, coldSlice, l.http(l.subject, coldSlice, "200", first)},
	}, nil
}

// measure takes every slice in turn, round after round, and prints the table.
func measure(b bench, slices []slice) error {
	costs, err := b.rounded(slices)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "\nCPU time of the server per request\n%-56s %10s %8s %23s\n", "", "µs", "x bare", "(above bare)/signature")
	for _, s := range slices {
		bare, one, name := costs[s.beside], costs[oneRS256], "RS256"
		if s.beside == bareProof {
			one, name = differences(costs[bareES256], bare), "ES256"
		}
		above := ratios(differences(costs[s.name], bare), one)
		fmt.Fprintf(b.out, "%-56s %10.1f %8.2f %15.2f %s\n", s.name, median(costs[s.name]), median(ratios(costs[s.name], bare)), median(above), name)
	}
	return nil
}

// rounded returns what each slice, by its name, took in each round, in µs. The first
// round warms up and does not count.
func (b bench) rounded(slices []slice) (map[string][]float64, error) {
	costs := map[string][]float64{}
	for round := range b.rounds + 1 {
		for _, s := range slices {
			took, err := s.run(round)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			if round > 0 {
				costs[s.name] = append(costs[s.name], float64(took.Nanoseconds())/1000/float64(s.n))
			}
		}
	}
	return costs, nil
}

// spent is the CPU time of the process while f runs.
func spent(p *watched.Process, f func() error) (time.Duration, error) {
	before, err := p.CPUTime()
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := p.CPUTime()
	return after - before, err
}
