package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/operator"
)

const (
	operatorTimeout = 60 * time.Second
	maxOperatorBody = 256 << 20
)

// operatorCall is how a running service is reached.
type operatorCall struct{ server, tokenFile string }

func sessionsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "sessions",
		Short: "List who has access at a running service, and end it",
		Long: `Show who has access to what, and end it. It asks the management listener of a
running service, with the token that operators.tokenFile of its configuration
names.

Exit codes: 0 with an answer, 1 if the service gives none, 2 if called wrongly.`,
		Example: "  mcp-forward-auth sessions list --token-file operators.token",
	}
	isGroup(c, "say list or end")
	var at operatorCall
	c.PersistentFlags().StringVar(&at.server, "server", "http://127.0.0.1:9090", "`URL` of the management listener")
	c.PersistentFlags().StringVar(&at.tokenFile, "token-file", "", "`file` with the operators' token")
	c.AddCommand(listSessionsCommand(&at), endSessionsCommand(&at))
	return c
}

func listSessionsCommand(at *operatorCall) *cobra.Command {
	c := &cobra.Command{
		Use:   "list",
		Short: "List who has access to what",
		Long: `Show the apps, browsers and keys that have access by a person's sign-in: of one
person, of everyone who gave access to one MCP server, or of everyone.

Exit codes: 0 with an answer, 1 if the service gives none, 2 if called wrongly.`,
		Example: "  mcp-forward-auth sessions list --token-file operators.token --email jane@example.com\n  mcp-forward-auth sessions list --token-file operators.token --resource https://mcp.example.com/mcp",
		Args:    exactly(0, ""),
	}
	subject := c.Flags().String("subject", "", "the person with this `subject`, as in the audit log")
	email := c.Flags().String("email", "", "people with this e-mail `address`")
	resource := c.Flags().String("resource", "", "those who gave access to the MCP server at this `URL`")
	wantsJSON := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		asJSON, err := wantsJSON()
		if err != nil {
			return err
		}
		if err := at.complete(c); err != nil {
			return err
		}
		query := url.Values{}
		for name, value := range map[string]string{"subject": *subject, "email": *email, "resource": *resource} {
			if value != "" {
				query.Set(name, value)
			}
		}
		var answer operator.List
		if err := at.call(c.Context(), http.MethodGet, operator.Path+"?"+query.Encode(), nil, &answer); err != nil {
			return fmt.Errorf("sessions list: %w", err)
		}
		if asJSON {
			return printJSON(c.OutOrStdout(), answer)
		}
		return printPeople(c.OutOrStdout(), c.ErrOrStderr(), answer)
	}
	return c
}

// printPeople writes a line for each entry.
func printPeople(out, notes io.Writer, list operator.List) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SUBJECT\tEMAIL\tKIND\tAPP\tMCP SERVER\tSCOPES\tSINCE\tRENEWED\tENDS\tID")
	day := func(unix int64) string { return time.Unix(unix, 0).UTC().Format("2006-01-02T15:04Z") }
	for _, v := range list.People {
		for _, e := range v.Entries {
			app := e.Name
			if app == "" {
				app = e.Client
			}
			cells := []string{v.Subject, v.Email, string(e.Kind), app, e.Resource, strings.Join(e.Scopes, ","), day(e.Since), day(e.Used), day(e.Until), e.ID}
			for i := range cells {
				cells[i] = printable(cells[i])
			}
			fmt.Fprintln(w, strings.Join(cells, "\t"))
		}
		if v.Forgotten > 0 {
			fmt.Fprintf(notes, "%s allowed %d more that there was no room for; sessions end --subject ends those too\n", printable(v.Subject), v.Forgotten)
		}
	}
	if !list.Complete {
		fmt.Fprintln(notes, "the service keeps this in the memory of one replica: what was allowed before its start, or at another replica, is missing; see docs/replicas.md")
	}
	return w.Flush()
}

// printable shows what apps and providers wrote, one cell of one line.
func printable(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, s)
}

func endSessionsCommand(at *operatorCall) *cobra.Command {
	c := &cobra.Command{
		Use:   "end",
		Short: "End all access of a person, or that of one app, browser or key",
		Long: `End all access that came of a person's sign-ins until now, or one entry of it:
within two seconds no request with it passes at any replica, and no refresh. It
does not keep the person from signing in again; the deny-list does, or the
identity provider.

Exit codes: 0 once it is ended, 1 if that is not certain, 2 if called wrongly.`,
		Example: "  mcp-forward-auth sessions end --token-file operators.token --email jane@example.com\n  mcp-forward-auth sessions end --token-file operators.token --subject google:1234 --id 3F2A",
		Args:    exactly(0, ""),
	}
	var asked operator.End
	c.Flags().StringVar(&asked.Subject, "subject", "", "the person with this `subject`, as in the audit log")
	c.Flags().StringVar(&asked.Email, "email", "", "everyone with this e-mail `address`")
	c.Flags().StringVar(&asked.ID, "id", "", "only the entry with this `ID`; needs --subject")
	c.RunE = func(c *cobra.Command, _ []string) error {
		switch {
		case (asked.Subject == "") == (asked.Email == ""):
			return usageError(c, errors.New("give one of --subject and --email"))
		case asked.ID != "" && asked.Subject == "":
			return usageError(c, errors.New("--id needs --subject"))
		}
		if err := at.complete(c); err != nil {
			return err
		}
		var answer struct{ Status string }
		if err := at.call(c.Context(), http.MethodPost, operator.EndPath, asked, &answer); err != nil {
			return fmt.Errorf("sessions end: %w", err)
		}
		_, err := fmt.Fprintln(c.OutOrStdout(), answer.Status)
		return err
	}
	return c
}

// complete reports a flag of c that is missing.
func (at *operatorCall) complete(c *cobra.Command) error {
	if at.tokenFile == "" {
		return usageError(c, errors.New("--token-file is required: the file that operators.tokenFile of the service names"))
	}
	return nil
}

// call sends one request and reads its answer.
func (at *operatorCall) call(ctx context.Context, method, path string, body, into any) error {
	token, err := conf.ReadBounded(at.tokenFile, conf.MaxSecretBytes)
	if err != nil {
		return err
	}
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	ctx, cancel := context.WithTimeout(ctx, operatorTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(at.server, "/")+path, content)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return json.NewDecoder(io.LimitReader(resp.Body, maxOperatorBody)).Decode(into)
	case http.StatusUnauthorized:
		return errors.New("the service does not take this token")
	case http.StatusNotFound:
		return errors.New("the service has no operators.tokenFile, or is of an earlier version")
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	return fmt.Errorf("the service answers %s: %s", resp.Status, bytes.TrimSpace(text))
}
