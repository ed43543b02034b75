// Package kinds lists the kinds of assertion.
package kinds

import (
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion/idjag"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion/kubernetes"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/assertion/workload"
)

// All returns every kind.
func All() []assertion.Kind {
	return []assertion.Kind{kubernetes.Kind{}, workload.Kind{}, idjag.Kind{}}
}
