package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/migrate"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/server"
)

func migrateCommand() *cobra.Command {
	var names []string
	for _, k := range migrate.Kinds() {
		names = append(names, k.Name)
	}
	c := &cobra.Command{
		Use:   "migrate --from NAME FILE...",
		Short: "Translate the configuration of another proxy",
		Long: `Translate the configuration of another proxy, and print a complete one of this
service, or with --chart values of the Helm chart. Comments say what is
different and why. What has no counterpart, what was unsafe and is not carried
over, and what is left to do are on standard error as well. docs/migration has
a page for each proxy: every option and what becomes of it.

Secrets are never printed. With --secrets they are written into files of that
directory, which only the owner may read; without it standard error says which
files to make. Nothing is asked of any server.

Exit codes: 0 with a configuration that "check-config" takes; 1 if a file
cannot be translated, with every reason, or if the result has mistakes, which
are named; 2 if called wrongly.`,
		Example: `  mcp-forward-auth migrate --from oauth2-proxy oauth2-proxy.cfg >config.yaml
  mcp-forward-auth migrate --from obot proxy.env --url https://mcp.example.com/mcp --secrets ./secrets
  mcp-forward-auth migrate --from mcp-oauth2-proxy values.yaml --chart`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError(c, errors.New("name the files of the other proxy"))
			}
			return nil
		},
	}
	f := migrateFlags{
		from:    c.Flags().String("from", "", "`name` of the other proxy: "+strings.Join(names, ", ")),
		url:     c.Flags().String("url", "", "public `URL` of the MCP server, where the files do not say it"),
		server:  c.Flags().String("server", "", "`URL` at which this service reaches the MCP server, where the files do not say it"),
		domains: c.Flags().StringSlice("email-domain", nil, "`domain` of the people who may sign in, where the other proxy let everyone in; may come several times"),
		secrets: c.Flags().String("secrets", "", "`directory` to write secrets into"),
		chart:   c.Flags().Bool("chart", false, "print values of the Helm chart"),
	}
	_ = c.RegisterFlagCompletionFunc("from", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp))
	_ = c.MarkFlagDirname("secrets")
	c.RunE = f.run
	return c
}

// migrateFlags are the flags of migrate.
type migrateFlags struct {
	from, url, server, secrets *string
	domains                    *[]string
	chart                      *bool
}

// unnamedSecrets is where the configuration says that secrets are, without --secrets.
const unnamedSecrets = "/etc/mcp-forward-auth"

func (f migrateFlags) run(c *cobra.Command, args []string) error {
	kind, err := migrate.Of(*f.from)
	if err != nil {
		return usageError(c, err)
	}
	request := migrate.Request{Kind: kind, URL: *f.url, Server: *f.server, EmailDomains: *f.domains, Chart: *f.chart, SecretsDir: unnamedSecrets}
	if *f.secrets != "" {
		if request.SecretsDir, err = filepath.Abs(*f.secrets); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
	}
	for _, name := range args {
		text, err := readBounded(name)
		if err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
		request.Files = append(request.Files, migrate.File{Name: name, Text: text})
	}
	result, err := migrate.Translate(request)
	if err != nil {
		return err
	}
	if *f.secrets != "" {
		if err := writeSecrets(request.SecretsDir, result.Secrets); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
	}
	if _, err := c.OutOrStdout().Write(result.Config); err != nil {
		return err
	}
	if err := result.Report(c.ErrOrStderr(), *f.secrets != ""); err != nil {
		return err
	}
	return checkMigrated(result)
}

// readBounded reads a file that is no larger than a configuration may be.
func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, conf.MaxFileBytes+1))
	if err == nil && len(text) > conf.MaxFileBytes {
		err = fmt.Errorf("%s is larger than 1 MiB", name)
	}
	return text, err
}

// writeSecrets writes each secret into a file of its own. A file that is there
// already is left alone, and is an error.
func writeSecrets(dir string, secrets []migrate.Secret) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, s := range secrets {
		file, err := os.OpenFile(filepath.Join(dir, s.Name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w; take it away, or name another directory", err)
		}
		if err != nil {
			return err
		}
		_, err = io.WriteString(file, s.Value.Reveal())
		if closed := file.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkMigrated is what check-config says of the result.
func checkMigrated(result *migrate.Result) error {
	cfg, err := config.Parse(result.Plain(), func(name string) ([]byte, error) {
		for _, s := range result.Secrets {
			if s.Path == name {
				return []byte(s.Value.Reveal()), nil
			}
		}
		return os.ReadFile(name)
	})
	if err == nil {
		err = server.Check(cfg)
	}
	if err != nil {
		return inFile{"the result", err}
	}
	return nil
}
