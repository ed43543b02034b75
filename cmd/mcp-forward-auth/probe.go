package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

const probeTimeout = 10 * time.Second

// probeCommand asks a URL and fails unless it answers with the wanted status. The
// image holds no other program, and the pod of `helm test` needs one.
func probeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "probe URL",
		Short: "Request a URL and fail unless it answers as expected",
		Long: `Ask a URL once, within ten seconds, and follow no redirect.

Exit codes: 0 if it answers with the wanted status, 1 if not, 2 if called
wrongly.`,
		Example: "  mcp-forward-auth probe http://127.0.0.1:9090/readyz",
		Args:    exactly(1, "give one URL"),
	}
	status := c.Flags().Int("status", http.StatusOK, "wanted status `code`")
	host := c.Flags().String("host", "", "`Host` header, if not that of the URL")
	lines := c.Flags().StringArray("header", nil, "request `header`, as 'Name: value'; may be repeated")
	c.RunE = func(c *cobra.Command, args []string) error {
		headers := http.Header{}
		for _, line := range *lines {
			name, value, ok := strings.Cut(line, ":")
			if !ok {
				return usageError(c, fmt.Errorf("--header %q has no colon", line))
			}
			headers.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		}
		if u, err := url.Parse(args[0]); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return usageError(c, fmt.Errorf("%q is no URL with http or https", args[0]))
		}
		answer, err := probe(c.Context(), args[0], *host, headers, *status)
		if err != nil {
			return fmt.Errorf("probe: %w", err)
		}
		_, err = fmt.Fprintln(c.OutOrStdout(), args[0], "answers", answer)
		return err
	}
	return c
}

// probe returns the status line of the answer, or an error if it is another than wanted.
func probe(ctx context.Context, at, host string, headers http.Header, wanted int) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return "", err
	}
	req.Header, req.Host = headers, host
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != wanted {
		return "", fmt.Errorf("%s answers %s, want %d", at, resp.Status, wanted)
	}
	return resp.Status, nil
}
