//go:build linux

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	auth "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/mcp-forward-auth/mcp-forward-auth/hack/watched"
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

// rs256Line is the line with one verification, which first uses are compared with.
const rs256Line = 12

// slice is one line of the table: something of which n are done in a round, and
// the CPU time that they took.
type slice struct {
	name   string
	beside int // the line that it is to be read beside
	n      int
	run    func(round int) (time.Duration, error)
}

// cost measures CPU time per request.
func cost(ctx context.Context, b bench) error {
	tokens, err := b.service.mint(1 + 3*coldSlice*(b.rounds+1))
	if err != nil {
		return err
	}
	external, err := b.service.external.mint(1 + coldSlice*(b.rounds+1))
	if err != nil {
		return err
	}
	carrying, err := b.service.mintFor(driveHost, token.Provider(strings.Repeat("p", 1200)), 1)
	if err != nil {
		return err
	}
	bareHTTP, err := dial(b.reference.HTTP, connections)
	if err != nil {
		return err
	}
	defer bareHTTP.close()
	ourHTTP, err := dial(b.subject.HTTP, connections)
	if err != nil {
		return err
	}
	defer ourHTTP.close()
	bareGRPC, err := dialGRPC(b.reference.GRPC, connections)
	if err != nil {
		return err
	}
	defer bareGRPC.close()
	ourGRPC, err := dialGRPC(b.subject.GRPC, connections)
	if err != nil {
		return err
	}
	defer ourGRPC.close()
	rs256, err := newVerification()
	if err != nil {
		return err
	}

	http := func(p *watched.Process, to *pool, n int, status string, tokens func(round int) []string) func(int) (time.Duration, error) {
		return func(round int) (time.Duration, error) {
			messages := requests(tokens(round))
			return spent(p, func() error { _, err := to.send(messages, n, status); return err })
		}
	}
	grpc := func(p *watched.Process, to callers, n int, tokens func(round int) []string) func(int) (time.Duration, error) {
		return func(round int) (time.Duration, error) {
			var messages []*auth.CheckRequest = checks(tokens(round))
			return spent(p, func() error { return to.send(ctx, messages, n) })
		}
	}
	none := func(int) []string { return []string{""} }
	known := func(int) []string { return tokens[:1] }
	fresh := func(kind int) func(int) []string { // tokens that only this kind of slice and this round use
		return func(round int) []string {
			from := 1 + coldSlice*(3*round+kind)
			return tokens[from : from+coldSlice]
		}
	}
	invalid := func(round int) []string { return spoil(fresh(2)(round)) }
	forged := func(round int) []string { return forge(fresh(2)(round)) }

	return measure(b, []slice{
		{"bare net/http, request with a token", 0, warmSlice, http(b.reference, bareHTTP, warmSlice, "200", known)},
		{"bare net/http, request without", 1, warmSlice, http(b.reference, bareHTTP, warmSlice, "200", none)},
		{"no token: 401", 1, warmSlice, http(b.subject, ourHTTP, warmSlice, "401", none)},
		{"token seen before: 200", 0, warmSlice, http(b.subject, ourHTTP, warmSlice, "200", known)},
		{"token's first use: 200", 0, coldSlice, http(b.subject, ourHTTP, coldSlice, "200", fresh(0))},
		{"good token, other signature: 401", 0, coldSlice, http(b.subject, ourHTTP, coldSlice, "401", invalid)},
		{"forged token: 401", 0, coldSlice, http(b.subject, ourHTTP, coldSlice, "401", forged)},
		{"bare gRPC", 7, warmSlice, grpc(b.reference, bareGRPC, warmSlice, known)},
		{"gRPC, token seen before", 7, warmSlice, grpc(b.subject, ourGRPC, warmSlice, known)},
		{"gRPC, token's first use", 7, coldSlice, grpc(b.subject, ourGRPC, coldSlice, fresh(1))},
		{"another server's JWT, seen before: 200", 0, warmSlice, http(b.subject, ourHTTP, warmSlice, "200", func(int) []string { return external[:1] })},
		{"another server's JWT, first use: 200", 0, coldSlice, http(b.subject, ourHTTP, coldSlice, "200", func(round int) []string {
			return external[1+coldSlice*round : 1+coldSlice*(round+1)]
		})},
		{"one RS256 verification", rs256Line, coldSlice, func(int) (time.Duration, error) { return rs256(coldSlice) }},
		{"carrying a provider's token of 1.2 KB, seen before: 200", 0, warmSlice, func(int) (time.Duration, error) {
			messages := [][]byte{requestTo(driveHost, carrying[0])}
			return spent(b.subject, func() error { _, err := ourHTTP.send(messages, warmSlice, "200"); return err })
		}},
		{"API key, seen before: 200", 0, warmSlice, http(b.subject, ourHTTP, warmSlice, "200", func(int) []string { return []string{b.service.apiKey} })},
	})
}

// measure takes every slice in turn, round after round, and prints the table.
// The first round warms up and does not count.
func measure(b bench, slices []slice) error {
	costs, err := b.rounded(slices)
	if err != nil {
		return err
	}
	rs256 := costs[rs256Line]
	fmt.Fprintf(b.out, "\nCPU time of the server per request\n%-38s %10s %8s %19s\n", "", "µs", "x bare", "(above bare)/RS256")
	for i, s := range slices {
		bare := costs[s.beside]
		above := make([]float64, len(bare))
		for r := range above {
			above[r] = (costs[i][r] - bare[r]) / rs256[r]
		}
		fmt.Fprintf(b.out, "%-38s %10.1f %8.2f %19.2f\n", s.name, median(costs[i]), median(ratios(costs[i], bare)), median(above))
	}
	return nil
}

// rounded returns what each slice took in each round, in µs.
func (b bench) rounded(slices []slice) ([][]float64, error) {
	costs := make([][]float64, len(slices))
	for round := range b.rounds + 1 {
		for i, s := range slices {
			took, err := s.run(round)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.name, err)
			}
			if round > 0 {
				costs[i] = append(costs[i], float64(took.Nanoseconds())/1000/float64(s.n))
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
