package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const probeTimeout = 10 * time.Second

// probe asks a URL and fails unless it answers with the wanted status. The image
// holds no other program, and the pod of `helm test` needs one.
func probe(ctx context.Context, args []string, std streams) error {
	fs := flag.NewFlagSet("probe", flag.ContinueOnError)
	status := fs.Int("status", http.StatusOK, "wanted status `code`")
	host := fs.String("host", "", "Host header, if not that of the URL")
	headers := http.Header{}
	fs.Func("header", "request header, as `'Name: value'`; may be repeated", func(s string) error {
		name, value, ok := strings.Cut(s, ":")
		if !ok {
			return fmt.Errorf("%q has no colon", s)
		}
		headers.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		return nil
	})
	fs.SetOutput(std.err)
	if err := fs.Parse(args); err != nil {
		if err == flag.ErrHelp {
			return err
		}
		return errReported
	}
	if fs.NArg() != 1 {
		return fmt.Errorf("probe: give one URL")
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fs.Arg(0), nil)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	req.Header, req.Host = headers, *host
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != *status {
		return fmt.Errorf("probe: %s answers %s, want %d", fs.Arg(0), resp.Status, *status)
	}
	_, err = fmt.Fprintln(std.out, fs.Arg(0), "answers", resp.Status)
	return err
}
