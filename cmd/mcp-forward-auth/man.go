//go:build man

package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// unlisted is what only `go run -tags man` has: releases need it once, and
// the program would grow by it.
func unlisted() []*cobra.Command {
	return []*cobra.Command{{
		Use:    "man DIRECTORY",
		Short:  "Write the man pages, one for each command; SOURCE_DATE_EPOCH is their date",
		Hidden: true,
		Args:   exactly(1, "give one directory"),
		RunE: func(c *cobra.Command, args []string) error {
			c.Root().DisableAutoGenTag = true
			return doc.GenManTree(c.Root(), &doc.GenManHeader{Section: "1", Source: "mcp-forward-auth", Manual: "User Commands"}, args[0])
		},
	}}
}
