package doctor

import (
	"context"
	"fmt"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/gatewatch"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/resource"
)

// GatesReport is the result of checking every gate once. Its JSON form is stable.
type GatesReport struct {
	OK    bool       `json:"ok"`
	Gates []GateSeen `json:"gates"`
}

// GateSeen is the result for the gate of one MCP server.
type GateSeen struct {
	Resource string          `json:"resource"`
	State    gatewatch.State `json:"state"`
	Saw      string          `json:"saw"`
}

// Gates checks the gate of every MCP server once, as the gate watch of the service
// does. seen, if not nil, is called with each result. The report is good only if every
// gate was seen closed. The error is that ctx ended.
func Gates(ctx context.Context, c gatewatch.Config, table *resource.Table, version string, seen func(GateSeen)) (GatesReport, error) {
	report := GatesReport{OK: true, Gates: []GateSeen{}}
	err := gatewatch.LookAtAll(ctx, c, table, version, func(g gatewatch.Gate) {
		s := GateSeen{g.Resource.URI, g.State, printable(g.Saw)}
		report.Gates = append(report.Gates, s)
		report.OK = report.OK && s.State == gatewatch.Closed
		if seen != nil {
			seen(s)
		}
	})
	return report, err
}

// Gate writes the lines about one gate.
func (p *Printer) Gate(g GateSeen) {
	mark, colour := "✗", red
	switch g.State {
	case gatewatch.Closed:
		mark, colour = "✓", green
	case gatewatch.Unreachable:
		mark, colour = "–", yellow
	}
	p.line(p.paint(colour, mark), p.paint(colour, fmt.Sprintf("%-*s", idWidth, g.State)), g.Resource, g.Saw)
}

// GatesSummary ends the report.
func (p *Printer) GatesSummary(r GatesReport) {
	n := map[gatewatch.State]int{}
	for _, g := range r.Gates {
		n[g.State]++
	}
	fmt.Fprintf(p.Out, "\n  %d closed, %d open, %d foreign, %d unreachable\n\n",
		n[gatewatch.Closed], n[gatewatch.Open], n[gatewatch.Foreign], n[gatewatch.Unreachable])
}
