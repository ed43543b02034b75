//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// footprint measures what the program is before the first request.
func footprint(ctx context.Context, out io.Writer, s *service) error {
	file, err := os.Stat(s.program)
	if err != nil {
		return err
	}
	var starts, memory []float64
	for range 5 {
		took, rss, err := fromNothing(ctx, s)
		if err != nil {
			return err
		}
		starts, memory = append(starts, float64(took.Milliseconds())), append(memory, rss)
	}
	fmt.Fprintf(out, "\nbinary %.1f MB; from start to ready %.0f ms; resident when idle %.1f MiB\n", float64(file.Size())/1e6, median(starts), median(memory))
	return nil
}

// fromNothing starts the service, waits until it is ready, and a little more
// until it is idle.
func fromNothing(ctx context.Context, s *service) (time.Duration, float64, error) {
	began := time.Now()
	p, err := s.start(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer p.Stop()
	resp, err := http.Get("http://" + p.Management + "/readyz")
	if err != nil {
		return 0, 0, err
	}
	resp.Body.Close()
	took := time.Since(began)
	if resp.StatusCode != http.StatusOK {
		return 0, 0, fmt.Errorf("not ready: %s", resp.Status)
	}
	if err := p.WaitCatalogue(ctx, host); err != nil {
		return 0, 0, err
	}
	time.Sleep(time.Second)
	rss, err := p.Resident()
	return took, rss, err
}
