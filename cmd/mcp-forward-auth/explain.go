package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/explain"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/flows"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/whatif"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

const (
	explainTimeout = 10 * time.Second
	maxFlowBody    = 1 << 20
)

func explainCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain FLOW|LINE|REASON",
		Short: "Say what happened in a sign-in or request, why, and what to do",
		Long: `Say on one screen what happened, why, by which rule, and what to do about it.

FLOW is the id of a sign-in, which stands at the foot of every page and in the
audit log. It is looked up in the logs of --log, or else at the running service.
LINE is one line of the audit log, also as a log store shows it or with an end
missing; "-" takes the last one of standard input. REASON is a reason that
stands in one.

With --config it also says which rule of the policy decided about the person.

Exit codes: 0 with an answer, 1 if nothing is known of it, 2 if called wrongly.`,
		Example: `  mcp-forward-auth explain mzxw6ytboi2dqmrt
  mcp-forward-auth explain mzxw6ytboi2dqmrt --log audit.jsonl --config config.yaml
  mcp-forward-auth explain mzxw6ytboi2dqmrt --log -
  mcp-forward-auth explain -
  mcp-forward-auth explain wrong_client_secret`,
		Args: exactly(1, `give the id of a sign-in, a line of the audit log, or a reason; "-" takes the last line of standard input`),
	}
	x := explaining{
		logs:   c.Flags().StringArray("log", nil, "`file` with audit entries; may be repeated; - is standard input"),
		server: c.Flags().String("server", "http://127.0.0.1:9090", "`URL` of the management listener"),
		config: configFlag(c),
		asJSON: outputFlag(c),
	}
	c.RunE = func(c *cobra.Command, args []string) error { return x.run(c, args[0]) }
	return c
}

// explaining are the flags of explain.
type explaining struct {
	logs           *[]string
	server, config *string
	asJSON         func() (bool, error)
}

func (x explaining) run(c *cobra.Command, about string) error {
	asJSON, err := x.asJSON()
	if err != nil {
		return err
	}
	if r := explain.Reason(about); r != "" {
		return sayReason(c.OutOrStdout(), r, asJSON)
	}
	story, err := x.story(c, about)
	if err != nil {
		return err
	}
	answer := struct {
		*explain.Story
		Policy *whatif.Decision `json:"policy,omitempty"`
	}{Story: story}
	if answer.Policy, err = x.policy(story); err != nil {
		return err
	}
	if asJSON {
		return printJSON(c.OutOrStdout(), answer)
	}
	text := story.String()
	if answer.Policy != nil {
		text += "\nWhat the policy says now. The audit log has no groups, so none are known here:\n\n" + answer.Policy.String()
	}
	_, err = io.WriteString(c.OutOrStdout(), text)
	return err
}

// sayReason says what a reason means.
func sayReason(w io.Writer, r reasons.Reason, asJSON bool) error {
	if asJSON {
		return printJSON(w, struct {
			Reason  reasons.Reason `json:"reason"`
			Meaning string         `json:"meaning"`
			Remedy  string         `json:"remedy"`
		}{r, r.Meaning(), r.Remedy()})
	}
	_, err := fmt.Fprintf(w, "%s: %s\ndo: %s\n", r, r.Meaning(), r.Remedy())
	return err
}

// story finds the entries that it is about, and tells them.
func (x explaining) story(c *cobra.Command, about string) (*explain.Story, error) {
	flow := explain.FlowID(about)
	if flow == "" {
		e, err := entry(c, about)
		if err != nil {
			return nil, err
		}
		if e.Flow == "" || len(*x.logs) == 0 {
			return explain.Tell(e), nil
		}
		flow = e.Flow
	}
	if len(*x.logs) == 0 {
		entries, err := askFlow(c.Context(), *x.server, flow)
		if err != nil {
			return nil, fmt.Errorf("explain: %w; --log FILE looks in the audit log", err)
		}
		return explain.Tell(entries...), nil
	}
	return x.search(c.InOrStdin(), flow)
}

// entry reads the line that it is about.
func entry(c *cobra.Command, about string) (explain.Entry, error) {
	if about == "-" {
		e, err := explain.Last(c.InOrStdin())
		if errors.Is(err, explain.ErrEmpty) {
			return e, usageError(c, err)
		}
		if err != nil {
			err = fmt.Errorf("explain: %w", err)
		}
		return e, err
	}
	e, err := explain.Parse([]byte(about))
	switch {
	case err == nil:
		return e, nil
	case slices.Contains(audit.Events, audit.Event(strings.TrimSpace(about))):
		return e, usageError(c, fmt.Errorf("%s is an event, which can have many reasons; give its line, or the reason in it", strings.TrimSpace(about)))
	case !strings.Contains(about, "{"):
		return e, usageError(c, fmt.Errorf("%.80q is no id of a sign-in (16 letters and digits), no line of the audit log and no reason", about))
	}
	return e, fmt.Errorf("explain: %w", err)
}

// search looks for a flow in the logs.
func (x explaining) search(in io.Reader, flow string) (*explain.Story, error) {
	var seen explain.Searched
	var found []explain.Entry
	for _, name := range *x.logs {
		entries, err := searchFile(in, name, flow, &seen)
		if err != nil {
			return nil, fmt.Errorf("explain: %w", err)
		}
		found = append(found, entries...)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("explain: %s does not have the sign-in %s; %s", strings.Join(*x.logs, ", "), flow, &seen)
	}
	return explain.Tell(found...), nil
}

func searchFile(in io.Reader, name, flow string, seen *explain.Searched) ([]explain.Entry, error) {
	if name == "-" {
		return explain.Find(in, flow, seen)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return explain.Find(f, flow, seen)
}

// askFlow asks a running service what it remembers of a sign-in.
func askFlow(ctx context.Context, server, flow string) ([]explain.Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(server, "/")+flows.Path+"/"+url.PathEscape(flow), nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxFlowBody))
	if err != nil {
		return nil, err
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil, fmt.Errorf("the service at %s does not know the sign-in %s: it was begun before its start or at another replica, or debug.flows.enabled is false", server, flow)
	default:
		return nil, fmt.Errorf("%s answers %s", server, resp.Status)
	}
	var f flows.Flow
	if err := json.Unmarshal(body, &f); err != nil || f.ID == "" {
		return nil, errors.New("the answer is not that of /debug/flows: is --server the management listener?")
	}
	return explain.OfFlow(f), nil
}

// policy asks what the rules of --config say of the person of a story, where rules
// decided.
func (x explaining) policy(s *explain.Story) (*whatif.Decision, error) {
	if *x.config == "" || s.Who == "" {
		return nil, nil
	}
	cfg, err := loadFile(*x.config)
	if err != nil {
		return nil, err
	}
	d, err := decide(cfg, whatif.Question{As: s.Who, Resource: s.Server})
	if err != nil {
		return nil, fmt.Errorf("explain: %w", err)
	}
	return d, nil
}
