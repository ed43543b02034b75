//go:build linux

// Command soak asks a service for as long as one likes and watches it: forward
// auth at a steady rate with tokens that change, and all the while people who
// register a client, sign in, refresh and revoke. It fails on any wrong answer,
// and if the memory held in the last quarter exceeds that of the second.
package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/mcp-forward-auth/mcp-forward-auth/hack/watched"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/sample"
)

const (
	host     = "mcp.example.com"
	issuer   = "https://" + host
	password = "correct horse battery"
	// people take turns: what one of them may have revoked is bounded.
	people = 60
	// rotation is the shortest that the configuration admits.
	rotation = 10 * time.Minute
	// Growth that is none: the runtime's own unrest.
	allowedGrowth, allowedMiB = 1.10, 4
)

func main() {
	d := flag.Duration("for", 30*time.Minute, "how `long`")
	rate := flag.Int("rate", 2000, "forward-auth requests a `second`, if the machine bears so many")
	signIns := flag.Float64("sign-ins", 2, "sign-ins a `second`")
	flag.Parse()
	if err := soak(context.Background(), *d, *rate, *signIns); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func soak(ctx context.Context, d time.Duration, rate int, signIns float64) error {
	dir, err := os.MkdirTemp("", "mcp-forward-auth-soak-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "mcp-forward-auth")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "grpcnotrace", "-o", program, "./cmd/mcp-forward-auth")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	tools := httptest.NewServer(http.StripPrefix("/mcp", sample.Handler(sample.Options{Stateless: true})))
	defer tools.Close()
	seed := make([]byte, 32)
	rand.Read(seed)
	// What is remembered of a token is forgotten at its end: there must have been
	// many ends by the second quarter.
	lifetime := min(max(d/8, time.Minute), 5*time.Minute).Truncate(time.Second)
	config, err := configure(dir, seed, tools.URL+"/mcp", lifetime)
	if err != nil {
		return err
	}
	p, err := watched.Start(ctx, program, "serve", "--config", config)
	if err != nil {
		return err
	}
	defer p.Stop()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	minter, err := newMinter(ctx, seed, lifetime)
	if err != nil {
		return err
	}
	if err := p.WaitCatalogue(ctx, host); err != nil {
		return err
	}
	ctx, cancel = context.WithTimeout(ctx, d)
	defer cancel()
	s := &counts{}
	fmt.Printf("%s, %d processors, %v at %d requests and %g sign-ins a second\n", runtime.Version(), runtime.NumCPU(), d, rate, signIns)
	var load sync.WaitGroup
	connections := 4 * runtime.NumCPU()
	for range connections {
		load.Go(func() { s.ask(ctx, p.HTTP, minter, time.Duration(connections)*time.Second/time.Duration(rate)) })
	}
	load.Go(func() { s.signInAgainAndAgain(ctx, p.HTTP, time.Duration(float64(time.Second)/signIns)) })
	samples, err := watch(ctx, p, s, d)
	load.Wait()
	return errors.Join(err, s.verdict(samples))
}

func configure(dir string, seed []byte, endpoint string, lifetime time.Duration) (string, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), 10)
	if err != nil {
		return "", err
	}
	var users strings.Builder
	for n := range people {
		fmt.Fprintf(&users, "{username: %s, passwordHash: '%s', email: %s@example.com, groups: [engineering]},", name(n), hash, name(n))
	}
	text := fmt.Sprintf(`
listen: {http: "127.0.0.1:0", management: "127.0.0.1:0"}
logging: {level: info}
provider: {name: static, users: [%s]}
proxy: {hosts: [{host: %s, endpoint: %q}]}
keys: {source: seed, seedFiles: [seed], rotation: %s}
tokens: {accessTokenLifetime: %s}
limits: {registrations: 0, signInAttempts: 0}
`, users.String(), host, endpoint, rotation, lifetime)
	path := filepath.Join(dir, "config.yaml")
	return path, errors.Join(os.WriteFile(path, []byte(text), 0o600), os.WriteFile(filepath.Join(dir, "seed"), seed, 0o600))
}

// name is the user name of one of the people.
func name(n int) string { return fmt.Sprintf("jane%d", n%people) }

// point is the state of the service at one moment.
type point struct {
	at         time.Duration
	mib        float64
	goroutines int
}

// watch prints a row now and then until ctx ends.
func watch(ctx context.Context, p *watched.Process, s *counts, d time.Duration) ([]point, error) {
	began := time.Now()
	tick := time.NewTicker(max(time.Second/2, d/240))
	defer tick.Stop()
	var points []point
	var before totals
	fmt.Printf("%8s %9s %9s %8s %9s %8s %9s %11s\n", "time", "requests", "a second", "p99", "sign-ins", "errors", "RSS MiB", "goroutines")
	row := max(1, int(d/max(time.Second/2, d/240))/20)
	last := began
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return points, nil
		case <-p.Done:
			return points, errors.New("the service ended")
		case <-tick.C:
		}
		mib, err := p.Resident()
		if err != nil {
			return points, err
		}
		goroutines, err := p.Goroutines(ctx)
		if err != nil && ctx.Err() == nil {
			return points, err
		}
		points = append(points, point{time.Since(began), mib, goroutines})
		if n%row == 0 {
			now, p99 := s.read()
			fmt.Printf("%8s %9d %9.0f %8s %9d %8d %9.1f %11d\n", time.Since(began).Round(time.Second), now.asked,
				float64(now.asked-before.asked)/time.Since(last).Seconds(), p99.Round(10*time.Microsecond), now.signIns, now.errors, mib, goroutines)
			before, last = now, time.Now()
		}
	}
}

// verdict says what is wrong with what was seen.
func (s *counts) verdict(points []point) error {
	now, _ := s.read()
	var wrong []error
	if now.errors > 0 {
		wrong = append(wrong, fmt.Errorf("%d errors, the first: %w", now.errors, s.first))
	}
	if now.asked == 0 || now.signIns == 0 || len(points) < 8 {
		return errors.Join(append(wrong, errors.New("too short to say anything"))...)
	}
	quarter := len(points) / 4
	for _, what := range []struct {
		name    string
		of      func(point) float64
		allowed float64
	}{
		{"RSS in MiB", func(p point) float64 { return p.mib }, allowedMiB},
		{"goroutines", func(p point) float64 { return float64(p.goroutines) }, 10},
	} {
		second, last := median(points[quarter:2*quarter], what.of), median(points[len(points)-quarter:], what.of)
		fmt.Printf("%s: median of the second quarter %.1f, of the last %.1f\n", what.name, second, last)
		if last > second*allowedGrowth+what.allowed {
			wrong = append(wrong, fmt.Errorf("%s grow from %.1f to %.1f", what.name, second, last))
		}
	}
	return errors.Join(wrong...)
}

func median(points []point, of func(point) float64) float64 {
	sorted := slices.SortedFunc(slices.Values(points), func(a, b point) int { return cmp.Compare(of(a), of(b)) })
	return of(sorted[len(sorted)/2])
}
