package main

import (
	"context"
	"fmt"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/doctor"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// gates is doctor --all: one look at the gate of every MCP server of the
// configuration file.
func (v visit) gates(ctx context.Context, path string) error {
	cfg, err := loadFile(path)
	if err != nil {
		return exitError{exitNotRun, err}
	}
	table, err := resource.NewTable(cfg.Hosts)
	if err != nil {
		return exitError{exitNotRun, err}
	}
	out := &doctor.Printer{Out: v.out, Colour: colour(v.out)}
	seen := out.Gate
	if v.asJSON {
		seen = nil
	}
	report, err := doctor.Gates(ctx, cfg.GateWatch, table, buildVersion(), seen)
	if err != nil {
		return exitError{exitNotRun, fmt.Errorf("doctor: %w", err)}
	}
	if !v.asJSON {
		out.GatesSummary(report)
	} else if err := printJSON(v.out, report); err != nil {
		return exitError{exitNotRun, fmt.Errorf("doctor: %w", err)}
	}
	if !report.OK {
		return exitError{exitFaults, errReported}
	}
	return nil
}
