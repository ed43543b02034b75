//go:build linux

package main

import (
	"context"
	"fmt"
	"time"
)

// crowd is how many connections ask at once, without a pause.
const (
	crowd      = 64
	crowdSlice = crowd * 60
)

// latency measures the time to an answer while many ask at once.
func latency(_ context.Context, b bench) error {
	tokens, err := b.service.mint(1)
	if err != nil {
		return err
	}
	return inTurn(b, fmt.Sprintf("%d connections at once, a token seen before", crowd), crowd, crowdSlice, []place{
		{"bare net/http", b.reference.HTTP, requests(tokens)}, {"forward auth", b.subject.HTTP, requests(tokens)},
	})
}

// place is where requests are sent.
type place struct {
	name, address string
	requests      [][]byte
}

// inTurn sends slices of requests to each place in turn and prints quantiles of
// the time to an answer; ratios are to the first place.
func inTurn(b bench, title string, conns, n int, places []place) error {
	p50, p99 := make([][]float64, len(places)), make([][]float64, len(places))
	for i, at := range places {
		p, err := dial(at.address, conns)
		if err != nil {
			return err
		}
		defer p.close()
		places[i].name = at.name
		if _, err := p.send(at.requests, n, "200"); err != nil { // warms up
			return fmt.Errorf("%s: %w", at.name, err)
		}
	}
	for range b.rounds {
		for i, at := range places {
			p, err := dial(at.address, conns)
			if err != nil {
				return err
			}
			took, err := p.send(at.requests, n, "200")
			p.close()
			if err != nil {
				return fmt.Errorf("%s: %w", at.name, err)
			}
			ms := make([]float64, len(took))
			for j, t := range took {
				ms[j] = float64(t) / float64(time.Millisecond)
			}
			p50[i], p99[i] = append(p50[i], quantile(ms, .5)), append(p99[i], quantile(ms, .99))
		}
	}
	fmt.Fprintf(b.out, "\n%s\n%-38s %10s %8s %10s %8s\n", title, "", "p50 ms", "x first", "p99 ms", "x first")
	for i, at := range places {
		fmt.Fprintf(b.out, "%-38s %10.2f %8.2f %10.2f %8.2f\n", at.name, median(p50[i]), median(ratios(p50[i], p50[0])), median(p99[i]), median(ratios(p99[i], p99[0])))
	}
	return nil
}
