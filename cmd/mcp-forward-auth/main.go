// Command mcp-forward-auth puts OAuth 2.1 in front of MCP servers: it is the
// authorization server, and it answers a gateway's forward-auth question.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// Exit codes. Those of one command alone stand with it.
const (
	exitFailed = 1 // the command failed, or found something wrong
	exitUsage  = 2 // it did not run, because of how it was called
)

// exitError ends the program with a code other than exitFailed.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string { return e.err.Error() }
func (e exitError) Unwrap() error { return e.err }

// errReported: the mistake is already on standard error or in the output.
var errReported = errors.New("reported")

func main() {
	if err := run(context.Background(), os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}); err != nil {
		if !errors.Is(err, errReported) {
			fmt.Fprintln(os.Stderr, "mcp-forward-auth:", err)
		}
		os.Exit(exitCode(err))
	}
}

type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run runs the command that args name.
func run(ctx context.Context, args []string, std streams) error {
	root := program()
	root.SetArgs(args)
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	strictHelp(root)
	c, err := root.ExecuteContextC(ctx)
	if err != nil && !errors.Is(err, errReported) && outputIsJSON(c, args) {
		return errors.Join(err, printJSON(std.out, struct {
			Error string `json:"error"`
		}{err.Error()}))
	}
	return err
}

// untilStopped returns a context that ends with the first SIGINT or SIGTERM. The
// second ends the program at once, as the first does in commands that do not call this.
func untilStopped(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

func exitCode(err error) int {
	if e, ok := errors.AsType[exitError](err); ok {
		return e.code
	}
	return exitFailed
}

// program is the whole command line. Its commands are one file each.
func program() *cobra.Command {
	root := &cobra.Command{
		Use:   "mcp-forward-auth",
		Short: "OAuth 2.1 for MCP servers, behind any gateway",
		Long: `OAuth 2.1 for MCP servers, behind any gateway.

"demo" shows it on this computer. "serve" runs it with a configuration, which
"check-config" checks and explains. "doctor" looks at the result as an MCP
client does.`,
		Version:       buildVersion(),
		Args:          knownCommand,
		RunE:          missingCommand,
		SilenceErrors: true, // main prints them
		SilenceUsage:  true, // a mistake is one line; --help has the rest
	}
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(usageError)
	root.AddCommand(
		serveCommand(), checkConfigCommand(), doctorCommand(), explainCommand(), demoCommand(), hashPasswordCommand(), newAPIKeyCommand(), sessionsCommand(), bridgeCommand(), migrateCommand(), probeCommand(), versionCommand())
	root.AddCommand(unlisted()...)
	return root
}

// strictHelp has the commands that cobra adds refuse what is not there. By
// themselves they show some help and succeed.
func strictHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		switch c.Name() {
		case "help":
			c.Args = func(_ *cobra.Command, args []string) error {
				about, rest, err := root.Find(args)
				if err != nil {
					return usageError(root, err)
				}
				return knownCommand(about, rest)
			}
		case "completion":
			isGroup(c, "say bash, fish, powershell or zsh")
		}
	}
}

// isGroup has c, which only holds other commands, ask for one of them.
func isGroup(c *cobra.Command, problem string) {
	c.Args = knownCommand
	c.RunE = func(c *cobra.Command, _ []string) error { return usageError(c, errors.New(problem)) }
	c.SuggestionsMinimumDistance = 1 // the names are short
}

// knownCommand refuses what is not a command, and names what may have been meant.
func knownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	meant := ""
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		meant = fmt.Sprintf("; did you mean %q?", near[0])
	}
	return exitError{exitUsage, fmt.Errorf("%sunknown command %q%s", label(c), args[0], meant)}
}

func missingCommand(c *cobra.Command, _ []string) error {
	c.SetOut(c.ErrOrStderr())
	if err := c.Help(); err != nil {
		return err
	}
	return exitError{exitUsage, errReported}
}

// usageError is a mistake in how c was called.
func usageError(c *cobra.Command, err error) error {
	err = plainFlagError(c, err)
	if strings.HasSuffix(err.Error(), "?") { // it says what may have been meant
		return exitError{exitUsage, fmt.Errorf("%s%w", label(c), err)}
	}
	return exitError{exitUsage, fmt.Errorf("%s%w; %q lists what there is", label(c), err, c.CommandPath()+" --help")}
}

// label begins what c says, such as "sessions list: "; the program's own name is before it.
func label(c *cobra.Command) string {
	if !c.HasParent() {
		return ""
	}
	return strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ") + ": "
}

// plainFlagError says what is wrong with a flag without the words of Go's parsers.
func plainFlagError(c *cobra.Command, err error) error {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if meant := conf.Nearest(unknown.GetSpecifiedName(), names); meant != "" {
			return fmt.Errorf("%w; did you mean --%s?", err, meant)
		}
		return err
	}
	wrong, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	wants, known := map[string]string{
		"int": "a whole number", "uint64": "a whole number that is not negative", "duration": `a time, such as "90s" or "5m"`, "bool": "true or false",
	}[wrong.GetFlag().Value.Type()]
	if !known {
		return err
	}
	return fmt.Errorf("--%s %q is not %s", wrong.GetFlag().Name, wrong.GetValue(), wants)
}

// exactly wants so many arguments, which problem asks for.
func exactly(n int, problem string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		switch {
		case len(args) == n:
			return nil
		case n == 0 && c.Flags().Lookup("config") != nil && !c.Flags().Changed("config"):
			return usageError(c, fmt.Errorf("unexpected argument %q; did you mean --config %[1]s?", args[0]))
		case n == 0:
			return usageError(c, fmt.Errorf("unexpected argument %q", args[0]))
		}
		return usageError(c, errors.New(problem))
	}
}

// noArguments is the argument check of commands that take flags alone.
var noArguments = exactly(0, "")

// configFlag adds --config, which c cannot do without.
func configFlag(c *cobra.Command) *string {
	path := c.Flags().String("config", "", "configuration `file` (YAML)")
	_ = c.MarkFlagFilename("config", "yaml", "yml")
	return path
}

// outputFlag adds --output. The function it returns is called when the flags are
// parsed, and reports whether JSON is wanted.
func outputFlag(c *cobra.Command) func() (json bool, err error) {
	const asText, asJSON = "text", "json"
	format := c.Flags().StringP("output", "o", asText, "`format` of the output: text or json")
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{asText, asJSON}, cobra.ShellCompDirectiveNoFileComp))
	return func() (bool, error) {
		if *format != asText && *format != asJSON {
			return false, usageError(c, fmt.Errorf("--output %q is not one of text, json", *format))
		}
		return *format == asJSON, nil
	}
}

// outputIsJSON reports whether args, which may have mistakes elsewhere, ask c for JSON.
func outputIsJSON(c *cobra.Command, args []string) bool {
	if c.Flags().Lookup("output") == nil {
		return false
	}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.ParseErrorsAllowlist.UnknownFlags = true
	format := flags.StringP("output", "o", "", "")
	_ = flags.Parse(args)
	return *format == "json"
}

// printJSON writes v for scripts and people.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
