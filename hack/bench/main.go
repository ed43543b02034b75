//go:build linux

// Command bench measures what a forward-auth decision costs, beside a handler
// that does nothing. The service is the real program in a process of its own,
// asked over loopback as gateways ask it; the bare handler is served by a
// server with the same settings and gets the same requests.
//
// The figure that survives a busy machine is CPU time per request, and of that
// the ratio: everything is measured in turn in short slices, a ratio is made of
// two slices of the same round, and the table shows the median of the rounds.
// Times on the clock (p99, start) are worth what the machine is idle.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

func main() {
	bare := flag.Bool("bare", false, "be the bare handler (used by the benchmark itself)")
	upstream := flag.Bool("upstream", false, "be the MCP server (used by the benchmark itself)")
	proxy := flag.String("proxy", "", "be a program that only relays to an `address` (used by the benchmark itself)")
	floor := flag.Bool("floor", false, "with -proxy: have the service's settings and heap")
	rounds := flag.Int("rounds", 11, "how many `times` each slice is measured")
	flag.Parse()
	ctx := context.Background()
	var err error
	switch {
	case *bare:
		err = serveBare(ctx)
	case *upstream:
		err = serveUpstream(ctx)
	case *proxy != "":
		err = serveProxy(ctx, *proxy, *floor)
	default:
		err = benchmark(ctx, *rounds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// benchmark prints one section after the other. They share the two processes.
func benchmark(ctx context.Context, rounds int) error {
	streams := enoughFiles()
	dir, err := os.MkdirTemp("", "mcp-forward-auth-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "mcp-forward-auth")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "grpcnotrace", "-ldflags", "-s -w", "-o", program, "./cmd/mcp-forward-auth") // as it is released
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	s, err := newService(dir, program)
	if err != nil {
		return err
	}
	defer s.close()
	fmt.Printf("%s, %d processors, %d rounds\n", runtime.Version(), runtime.NumCPU(), rounds)
	if err := footprint(ctx, os.Stdout, s); err != nil {
		return err
	}
	reference, err := startBare(ctx)
	if err != nil {
		return err
	}
	defer reference.Stop()
	subject, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer subject.Stop()
	if err := subject.WaitCatalogue(ctx, host); err != nil {
		return err
	}
	for _, section := range []func(context.Context, bench) error{cost, evidence, latency, throughNGINX, relaying} {
		if err := section(ctx, bench{os.Stdout, s, reference, subject, rounds, streams}); err != nil {
			return err
		}
	}
	return nil
}
