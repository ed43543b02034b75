package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion/kinds"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/whatif"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/server"
)

const (
	// exitRefused: the policy refuses something of what was asked.
	exitRefused = 3
	// exitContact: something that the file names cannot be used as it is.
	exitContact = 4
	// exitLeftOut: the file is good, and a hosts file that it names is not.
	exitLeftOut = 5
)

var errNoConfig = errors.New("--config FILE is required")

func checkConfigCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "check-config --config FILE",
		Short: "Check a configuration file and say what it means",
		Long: `Check a configuration file as "serve" does, and print every mistake, or what
the file means. It sends no request and changes nothing.

With --online it also checks everything that the file names, without changing
anything there: identity providers, their keys and clocks, the keys of other
authorization servers, trusted issuers and transmitters of security events, the
tools of MCP servers, public names in DNS and their certificates. Introspection
endpoints and the webhook for API keys are asked about a token and a key that
were never issued, and the collector of traces gets an empty batch. In the guard
it writes one entry and removes it at once.

With --as it prints what the policy allows a person. WHO is any part of
user=…,email=…,groups=a|b,provider=…,client=…, with a backslash before "," and
"|"; --as "" is a person of whom nothing is known.

With --as-agent it prints what an assertion of a trusted issuer would get at
/token. The file holds the JWT of a workload, a pod or a company's identity
provider. Its signature and its times are not checked.

Exit codes: 0 if the file is good and, with --as, all of --scopes is allowed
(without --scopes: anything is); 1 if the file has mistakes; 2 if called
wrongly; 3 if the policy refuses something; 4 if --online found something that
does not work; 5 if the file is good, but a file of proxy.hostsFiles has a
mistake, so that its hosts are left out. With --allow-left-out that is 0, since
"serve" starts without those hosts.`,
		Example: `  mcp-forward-auth check-config --config config.yaml
  mcp-forward-auth check-config --config config.yaml --online
  mcp-forward-auth check-config --config config.yaml --as 'email=ann@example.com,groups=dev' --scopes notes:write`,
		Args: noArguments,
	}
	f := checkFlags{
		path:      configFlag(c),
		as:        c.Flags().String("as", "", "say what the policy lets `WHO` have"),
		agent:     c.Flags().String("as-agent", "", "say what the assertion in `FILE` would get"),
		client:    c.Flags().String("client", "", "`id` of the client that shows the assertion of --as-agent"),
		resource:  c.Flags().String("resource", "", "`URL` of the MCP server that --as or --as-agent is about"),
		scopes:    c.Flags().String("scopes", "", "`scopes` that --as or --as-agent is about, separated by commas; without it those that the configuration names"),
		online:    c.Flags().Bool("online", false, "ask the servers that the file names, too"),
		leftOut:   c.Flags().Bool("allow-left-out", false, "exit with 0 where only files of proxy.hostsFiles have mistakes"),
		wantsJSON: outputFlag(c),
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return f.run(c) }
	return c
}

// checkFlags are the flags of check-config.
type checkFlags struct {
	path, as, agent, client, resource, scopes *string
	online, leftOut                           *bool
	wantsJSON                                 func() (bool, error)
}

// misused says what is wrong with how the flags stand together.
func (f checkFlags) misused(c *cobra.Command) error {
	given := c.Flags().Changed
	switch {
	case *f.path == "":
		return errNoConfig
	case !given("as") && !given("as-agent") && (given("resource") || given("scopes")):
		return errors.New(`--resource and --scopes go with --as and --as-agent; --as "" is a person of whom nothing is known`)
	case given("as") && given("as-agent"):
		return errors.New("--as and --as-agent are two questions")
	case given("client") && !given("as-agent"):
		return errors.New("--client goes with --as-agent; with --as write client=…")
	case *f.online && (given("as") || given("as-agent")):
		return errors.New("--online is a question of its own, beside --as and --as-agent")
	case *f.leftOut && (given("as") || given("as-agent")):
		return errors.New("--allow-left-out is about the file, and not about --as or --as-agent")
	}
	return nil
}

func (f checkFlags) run(c *cobra.Command) error {
	asJSON, err := f.wantsJSON()
	if err != nil {
		return err
	}
	if err := f.misused(c); err != nil {
		return usageError(c, err)
	}
	q := whatif.Question{As: *f.as, AgentClient: *f.client, Resource: *f.resource, Scopes: *f.scopes}
	switch {
	case c.Flags().Changed("as-agent"):
		if q.Agent, err = readAssertion("--as-agent", *f.agent); err != nil {
			return err
		}
		return tryPolicy(c, *f.path, q, asJSON)
	case c.Flags().Changed("as"):
		return tryPolicy(c, *f.path, q, asJSON)
	case asJSON:
		err = describeJSON(c, *f.path, *f.online)
	default:
		err = describe(c, *f.path, *f.online)
	}
	if *f.leftOut && exitCode(err) == exitLeftOut {
		return nil // it is printed
	}
	return err
}

// describe prints what the file at path means.
func describe(c *cobra.Command, path string, online bool) error {
	cfg, err := loadFile(path)
	if err != nil {
		return err
	}
	printWarnings(c.ErrOrStderr(), path, cfg)
	left := printLeftOut(c.ErrOrStderr(), cfg)
	if _, err = io.WriteString(c.OutOrStdout(), cfg.Summary()); err != nil {
		return err
	}
	if !online {
		return left
	}
	return printContacts(c.OutOrStdout(), server.Online(c.Context(), cfg, nil))
}

// readAssertion reads the file that a flag names.
func readAssertion(flag, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, assertion.MaxBytes+2))
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	raw := strings.TrimSpace(string(text))
	if raw == "" {
		return "", fmt.Errorf("%s: %s holds no assertion", flag, path)
	}
	return raw, nil
}

// loadFile reads and checks the file at path, for serve and check-config alike.
// Each line of the error names the file.
func loadFile(path string) (*config.Config, error) {
	return goodFile(path, func() (*config.Config, error) { return config.Load(path) })
}

// goodFile is loadFile with another way to read the file.
func goodFile(path string, load func() (*config.Config, error)) (*config.Config, error) {
	cfg, err := load()
	if _, mistakes := errors.AsType[conf.Errors](err); err != nil && !mistakes {
		return nil, err // the file cannot be read, and the error names it
	}
	if err == nil {
		err = server.Check(cfg)
	}
	if err != nil {
		return nil, inFile{path, err}
	}
	return cfg, nil
}

// inFile is what is wrong with a configuration file.
type inFile struct {
	path string
	err  error
}

func (f inFile) Error() string {
	return f.path + ": " + strings.ReplaceAll(f.err.Error(), "\n", "\n"+f.path+": ")
}

func (f inFile) Unwrap() error { return f.err }

func printWarnings(w io.Writer, path string, cfg *config.Config) {
	for _, warning := range cfg.Warnings {
		fmt.Fprintf(w, "warning: %s: %s\n", path, warning)
	}
}

// printLeftOut says what is wrong with hosts files, and returns an error if anything
// is. The configuration is good without them, and the service starts.
func printLeftOut(w io.Writer, cfg *config.Config) error {
	var err error
	for _, f := range cfg.HostsFiles {
		for _, m := range f.Mistakes {
			fmt.Fprintf(w, "left out: %s: %s\n", f.Path, m)
			err = exitError{exitLeftOut, errReported}
		}
	}
	return err
}

// checked is what check-config says of a file, for scripts.
type checked struct {
	File     string           `json:"file"`
	OK       bool             `json:"ok"`
	Mistakes []mistake        `json:"mistakes"`
	Warnings []mistake        `json:"warnings"`
	Settings []config.Setting `json:"settings"`
	// LeftOut are the mistakes in hosts files, by file; the service starts without them.
	LeftOut map[string][]mistake `json:"leftOut,omitempty"`
	// Contacts is what --online found; absent without it.
	Contacts []server.Contact `json:"contacts,omitempty"`
}

// printContacts says what came of each question.
func printContacts(w io.Writer, found []server.Contact) error {
	fmt.Fprintln(w)
	failed := false
	for _, c := range found {
		mark := "ok    "
		if !c.OK {
			mark, failed = "FAILED", true
		}
		if _, err := fmt.Fprintf(w, "%s  %s\n        %s\n        %s\n", mark, c.Path, c.Asked, c.Said); err != nil {
			return err
		}
	}
	if failed {
		return exitError{exitContact, errReported}
	}
	return nil
}

// mistake is one thing wrong in the file. Path is "" where it is the file as a whole.
type mistake struct {
	Path    string `json:"path"`
	Problem string `json:"problem"`
}

func mistakes(found conf.Errors) []mistake {
	out := make([]mistake, len(found))
	for i, m := range found {
		out[i] = mistake{m.Path, m.Problem}
	}
	return out
}

func describeJSON(c *cobra.Command, path string, online bool) error {
	said := checked{File: path, Mistakes: []mistake{}, Warnings: []mistake{}, Settings: []config.Setting{}}
	cfg, err := loadFile(path)
	if err == nil {
		said.OK, said.Settings = true, cfg.Settings()
		said.Warnings = mistakes(cfg.Warnings)
		for _, f := range cfg.HostsFiles {
			if len(f.Mistakes) > 0 {
				if said.LeftOut == nil {
					said.LeftOut = map[string][]mistake{}
				}
				said.LeftOut[f.Path] = mistakes(f.Mistakes)
			}
		}
		if online {
			said.Contacts = server.Online(c.Context(), cfg, nil)
		}
	} else if found, ok := errors.AsType[conf.Errors](err); ok {
		said.Mistakes = mistakes(found)
	} else {
		said.Mistakes = append(said.Mistakes, mistake{Problem: err.Error()})
	}
	if err := printJSON(c.OutOrStdout(), said); err != nil {
		return err
	}
	switch {
	case !said.OK:
		return errReported
	case slices.ContainsFunc(said.Contacts, func(c server.Contact) bool { return !c.OK }):
		return exitError{exitContact, errReported}
	case len(said.LeftOut) > 0:
		return exitError{exitLeftOut, errReported}
	}
	return nil
}

// tryPolicy prints what the policy of the file at path says.
func tryPolicy(c *cobra.Command, path string, q whatif.Question, asJSON bool) error {
	cfg, err := loadFile(path)
	switch {
	case err != nil && asJSON:
		return describeJSON(c, path, false) // which says what is wrong with the file
	case err != nil:
		return err
	}
	printWarnings(c.ErrOrStderr(), path, cfg)
	d, err := decide(cfg, q)
	if err != nil {
		return fmt.Errorf("check-config: %w", err)
	}
	if asJSON {
		err = printJSON(c.OutOrStdout(), d)
	} else {
		_, err = io.WriteString(c.OutOrStdout(), d.String())
	}
	if err == nil && !d.OK {
		err = exitError{exitRefused, errReported}
	}
	return err
}

// decide asks what the policy of a configuration says.
func decide(cfg *config.Config, q whatif.Question) (*whatif.Decision, error) {
	keys, err := cfg.APIKeys.All(time.Now())
	if err != nil {
		return nil, err
	}
	service := whatif.Service{Providers: cfg.Providers, Hosts: cfg.Hosts, Clients: cfg.Clients, Keys: keys, AuthorizationServers: cfg.AuthorizationServers, Kinds: kinds.All(), TrustedIssuers: cfg.TrustedIssuers, DenyList: cfg.DenyList}
	return service.Decide(q)
}
