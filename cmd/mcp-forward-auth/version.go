package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version and commit are set by the linker in releases.
var version, commit string

// build says which program this is.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"` // the tree had changes that are in no commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// thisBuild is what the linker was told, or else what the Go tool knows of the source.
func thisBuild() build {
	b := build{Version: version, Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	if b.Version == "" {
		b.Version = info.Main.Version
	}
	if b.Version == "" {
		b.Version = "(devel)"
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && b.Commit == "":
			b.Commit = s.Value
		case s.Key == "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (b build) String() string {
	source := ""
	if b.Commit != "" {
		source = " (commit " + b.Commit
		if b.Modified {
			source += ", with changes"
		}
		source += ")"
	}
	return fmt.Sprintf("mcp-forward-auth %s%s %s %s", b.Version, source, b.Go, b.Platform)
}

// buildVersion is the version alone, as logs and other servers get it.
func buildVersion() string { return thisBuild().Version }

func versionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "version",
		Short:   "Print the version, the commit, and what it was built with",
		Example: "  mcp-forward-auth version --output json",
		Args:    noArguments,
	}
	wantsJSON := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		asJSON, err := wantsJSON()
		switch {
		case err != nil:
			return err
		case asJSON:
			return printJSON(c.OutOrStdout(), thisBuild())
		}
		_, err = fmt.Fprintln(c.OutOrStdout(), thisBuild())
		return err
	}
	return c
}
