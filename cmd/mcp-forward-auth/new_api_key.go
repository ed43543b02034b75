package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/credential/apikey"
)

func newAPIKeyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "new-api-key NAME",
		Short: "Make an API key for a script",
		Long: `Make an API key with 256 random bits. The key goes to standard output, this one
time; nothing keeps it. Its entry for apiKeys.keys of the configuration, or for
the file that apiKeys.file names, goes to standard error: it holds a hash and no
secret. To rotate a key, add the new hash to its entry beside the old one, and
remove that once the new key is in use.

Exit codes: 0 with a key, 1 if the entry would not be valid, 2 if called
wrongly.`,
		Example: "  mcp-forward-auth new-api-key ci --scopes read,write --days 30\n  mcp-forward-auth new-api-key ci >ci.key 2>>keys.yaml",
		Args:    exactly(1, "say what the key is called, such as: mcp-forward-auth new-api-key ci"),
	}
	scopes := c.Flags().StringSlice("scopes", []string{"mcp"}, "`scopes` that the key has, separated by commas; a server that declares none has the scope mcp")
	days := c.Flags().Int("days", 90, "`number` of days until the key ends")
	forever := c.Flags().Bool("never-expires", false, "the key has no end")
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case *forever && c.Flags().Changed("days"):
			return usageError(c, errors.New("--days and --never-expires exclude each other"))
		case *days < 1 || *days > 36_500:
			return usageError(c, errors.New("--days is not between 1 and 36500"))
		}
		key, hash := apikey.NewKey()
		entry := []string{
			"- name: " + args[0], fmt.Sprintf("  hashes: [%q]", hash), "  scopes: [" + strings.Join(*scopes, ", ") + "]",
			fmt.Sprintf("  expires: %q", time.Now().UTC().AddDate(0, 0, *days).Format(time.DateOnly)),
		}
		if *forever {
			entry[3] = "  neverExpires: true"
		}
		lines := strings.Join(entry, "\n") + "\n"
		if _, _, err := apikey.Parse([]byte("keys:\n"+lines), nil, apikey.Where{}, time.Now()); err != nil {
			return fmt.Errorf("new-api-key: %w", err)
		}
		if _, err := fmt.Fprint(c.ErrOrStderr(), lines); err != nil {
			return err
		}
		_, err := fmt.Fprintln(c.OutOrStdout(), key)
		return err
	}
	return c
}
